"""For tests of adapters: platforms played on loopback, an engine that answers as told, and the conformance suite."""

from botkit.testing.engine import ScriptedEngine
from botkit.testing.platform import Place, Platform, Shown

__all__ = ["Place", "Platform", "ScriptedEngine", "Shown"]
