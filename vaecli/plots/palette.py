"""The colours of classes, apart from matplotlib, which takes a second to import."""

from __future__ import annotations

# Petroff (2021): ten colours that the colour-blind can distinguish; the next ten classes have another marker.
CLASS_COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
# On a dark ground: the same order and similar hues, each with a contrast of at least 4.7 with #16181b. For the
# colour-blind (Machado 2009) the two most similar are as different as in the ten above.
DARK_CLASS_COLOURS = (
    *("#409ae3", "#ffa90f", "#ff5a4a", "#9aa1a3", "#966af7"),
    *("#af786d", "#de7400", "#bcad75", "#6f86b3", "#92dcdd"),
)
