"""The colours of classes, apart from matplotlib, which takes a second to import."""

from __future__ import annotations

# Petroff (2021): ten colours that the colour-blind can distinguish; the next ten classes have another marker.
CLASS_COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
