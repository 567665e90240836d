"""Many films and photographs at once, each painted by itself under its own name."""

from vst.items.loop import Outcome, paint_items
from vst.items.plan import ITEMS, Plan, Task, plan_items

__all__ = ["ITEMS", "Outcome", "Plan", "Task", "paint_items", "plan_items"]
