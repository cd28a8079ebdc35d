"""Lightning Fabric, imported without torchmetrics.

It asks torchmetrics for its version and for no more, and that import, with all of torchvision's models, takes a third of the time in which a
command begins.
"""

import sys
from importlib.util import find_spec

_hidden = "torchmetrics" not in sys.modules
if _hidden:
    # An import of a module that is None fails, and Fabric goes on without it.
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]
try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import DDPStrategy
finally:
    if _hidden:
        del sys.modules["torchmetrics"]
if _hidden:
    # What the import would have found, for Fabric's SpikeDetection.
    for _name in ("imports", "spike"):
        _part = sys.modules.get(f"lightning_fabric.utilities.{_name}")
        if hasattr(_part, "_TORCHMETRICS_GREATER_EQUAL_1_0_0"):
            _part._TORCHMETRICS_GREATER_EQUAL_1_0_0 = find_spec("torchmetrics") is not None

__all__ = ["DDPStrategy", "Fabric", "LightningEnvironment"]
