"""What the files in a run's folder are called."""

from __future__ import annotations

CONFIG, SUMMARY, METRICS, EVALUATION = "config.yaml", "summary.json", "metrics.jsonl", "evaluation.json"
CHECKPOINTS, IMAGES, LOG, LOCK = "checkpoints", "images", "train.log", ".lock"
EVENTS = "events.out.tfevents.*"
BEST, LAST = "best", "last"  # beside them: ema
OCCUPIED = (CONFIG, SUMMARY, METRICS, CHECKPOINTS)  # a folder that holds one of these holds a run
WRITTEN = (*OCCUPIED, IMAGES, LOG, EVENTS, LOCK)
