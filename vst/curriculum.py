"""The course of a run in phases: what a step trains on, and which loss terms have joined by then.

Everything is a function of the progress of the run and of the number of the batch, so that data loaders can ask ahead
and a resumed run goes on as the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vst.errors import suggest
from vst.schedules import Ramp

GOLDEN = (5**0.5 - 1) / 2


class Phase:
    """A part of the run.

    Args:
        share: of the run's batches, above 0; the shares of all phases sum to 1.
        frames: of a clip, from its start; back-propagation runs through all of them but the first `warm_up`.
        warm_up: how many of them only bring the state to where it is in the middle of a film: they have no gradient,
            and no loss looks at them.
        single: share of the phase's batches that train on one frame only, evenly spread, so that first frames stay
            good (Ruder et al. 2018 give half of their training to them).
        reset: probability at each frame after the first that the memory is dropped there, for the whole batch.
        splice: probability that a clip turns into another one of its batch, at a frame drawn at random.
        terms: names of loss terms that join in this phase, by a linear ramp in place of their own schedules.
        ramp: share of the phase that this takes.

    Raises:
        ValueError: a number is out of its range; the message begins with the argument's name.
    """

    def __init__(
        self,
        share: float,
        frames: int,
        single: float = 0.0,
        reset: float = 0.0,
        splice: float = 0.0,
        terms: Sequence[str] = (),
        ramp: float = 0.5,
        warm_up: int = 0,
    ) -> None:
        if frames < 1:
            raise ValueError(f"frames: {frames} is not 1 or more")
        if not 0 <= warm_up < frames:
            raise ValueError(f"warm_up: {warm_up} is not 0 or more and below frames, which is {frames}")
        for name, value in {"share": share, "ramp": ramp}.items():
            if not 0 < value <= 1:
                raise ValueError(f"{name}: {value} is not above 0 and 1 or less")
        for name, value in {"single": single, "reset": reset, "splice": splice}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value} is not 0 or more and 1 or less")
        self.share, self.frames, self.single = share, frames, single
        self.reset, self.splice, self.warm_up = reset, splice, warm_up
        self.terms, self.ramp = tuple(terms), ramp


class Curriculum:
    """Phases in their order, by name.

    Raises:
        ValueError: there is none, their shares do not sum to 1, or a loss term joins twice.
    """

    def __init__(self, phases: Mapping[str, Phase]) -> None:
        self.phases = dict(phases)
        total = sum(phase.share for phase in self.phases.values())
        if abs(total - 1) > 1e-6:
            listed = " + ".join(f"{phase.share:g}" for phase in self.phases.values()) or "none"
            raise ValueError(f"phases: their shares sum to {total:g} ({listed}); they have to sum to 1")
        joining = [term for phase in self.phases.values() for term in phase.terms]
        twice = sorted({term for term in joining if joining.count(term) > 1})
        if twice:
            raise ValueError(f"phases: the loss term '{twice[0]}' joins more than once; name it in one phase")

    def name_at(self, progress: float) -> str:
        """The phase at `progress` in [0, 1]; a phase begins at exactly the sum of the shares before it."""
        name = ""
        for name, (_, end) in self._spans().items():
            if progress < end:
                return name
        return name

    def phase_at(self, progress: float) -> Phase:
        return self.phases[self.name_at(progress)]

    def frames(self, number: int, progress: float) -> int:
        """Frames that batch `number` of the run trains on, at `progress`."""
        phase = self.phase_at(progress)
        # Multiples of the golden ratio fill [0, 1) evenly: any stretch of batches has nearly its share of single ones.
        return 1 if (number * GOLDEN) % 1 < phase.single else phase.frames

    def schedule_of(self, term: str) -> Callable[[float], float] | None:
        """How the loss term of that name joins, or None if no phase names it."""
        for name, (start, end) in self._spans().items():
            phase = self.phases[name]
            if term in phase.terms:
                return Ramp(start, start + phase.ramp * (end - start))
        return None

    def describe(self) -> str:
        """One line for the log, such as `images 60 % on 1 frame, clips 40 % on 3 frames`."""
        return ", ".join(
            f"{name} {100 * phase.share:.3g} % on {phase.frames} frame{'' if phase.frames == 1 else 's'}"
            for name, phase in self.phases.items()
        )

    def _spans(self) -> dict[str, tuple[float, float]]:
        """Start and end of each phase; the last one ends at 1 exactly."""
        spans, start = {}, 0.0
        for name, phase in self.phases.items():
            spans[name] = start, min(round(start + phase.share, 9), 1.0)
            start = spans[name][1]
        return spans


def mistake(nodes: Any, clip_length: float | None, batch_size: float | None, terms: Any) -> str | None:
    """What is wrong with phases as they stand in a configuration, in one line, or None.

    Wrong types and arguments are not told here: they are found by the signatures.

    Args:
        nodes: the plain dictionary of `_target_` nodes.
        clip_length: frames that the data make.
        batch_size: clips of a batch.
        terms: loss terms by name.
    """
    try:
        phases = _from_nodes(nodes)
    except ValueError as error:
        return f"curriculum.{error}"
    except TypeError:
        return None
    for name, phase in phases.items():
        where = f"curriculum.phases.{name}"
        if clip_length is not None and phase.frames > clip_length:
            return f"{where}.frames: {phase.frames} is more than clip_length={clip_length}; raise clip_length"
        if phase.splice > 0 and batch_size == 1:
            return f"{where}.splice: joins two clips of a batch, and data.batch_size=1 has one; set it to 0"
        absent = [str(term) for term in phase.terms if isinstance(terms, dict) and str(term) not in terms]
        if absent:
            kept = ",".join(term for term in phase.terms if str(term) not in absent)
            hint = suggest(absent[0], terms)
            return f"{where}.terms: there is no loss.terms.{absent[0]}{hint}; or give {where}.terms=[{kept}]"
    return None


def longest(nodes: Any) -> int | None:
    """Frames of the longest phase of such a dictionary, None where it has mistakes."""
    try:
        return max((phase.frames for phase in _from_nodes(nodes).values()), default=None)
    except (TypeError, ValueError):
        return None


def _from_nodes(nodes: Any) -> dict[str, Phase]:
    phases = {}
    for name, node in nodes.items() if isinstance(nodes, dict) else ():
        if not isinstance(node, dict) or "_target_" not in node:
            raise ValueError(f"phases.{name}: not a phase; is the name right{suggest(name, set(nodes) - {name})}?")
        if not isinstance(node.get("terms", []), list):
            raise TypeError(f"phases.{name}.terms: not a list")  # a text would pass for the list of its letters
        try:
            phases[name] = Phase(**{key: value for key, value in node.items() if key != "_target_"})
        except ValueError as error:
            raise ValueError(f"phases.{name}.{error}") from error
    return Curriculum(phases).phases if phases else {}
