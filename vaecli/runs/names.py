"""Names of the files in a run's folder."""

from __future__ import annotations

CONFIG, SUMMARY, METRICS, EVALUATION = "config.yaml", "summary.json", "metrics.jsonl", "evaluation.json"
CHECKPOINTS, IMAGES, LOG, LOCK = "checkpoints", "images", "train.log", ".lock"
EVENTS = "events.out.tfevents.*"
BEST, LAST = "best", "last"  # checkpoints; `ema` exists only with ema.decay
OCCUPIED = (CONFIG, SUMMARY, METRICS, CHECKPOINTS)  # a folder that holds one of these holds a run
WRITTEN = (*OCCUPIED, IMAGES, LOG, EVENTS, LOCK)
