"""Redis: arq's queue, the spill stream, wake-ups and the budget of calls."""
