"""`Protocol`: what an episode is."""

from dataclasses import asdict, dataclass
from numbers import Integral, Real

from fewshot.errors import FewshotError

# Below, the numbers that a draw is made of fall to 0.
_DIRICHLET = 0.01, 1e6


@dataclass(frozen=True)
class Protocol:
    """An N-way K-shot episode protocol; with a bank it fixes every index of every episode.

    Args:
        way: classes per episode (N).
        shot: support items per class (K); a tuple of `way` numbers gives each class its own. 0 is zero-shot: there are no
            support items, and classes are told apart by what is known of them otherwise.
        query: query items per class (Q); with `dirichlet` the mean over classes.
        dirichlet: None for `query` items in every class; a number alpha, 0.01 to 1e6, draws the class proportions
            of the `way * query` query items from a symmetric Dirichlet(alpha) in each episode.
        episodes: how many episodes are drawn.
        seed: chooses the stream of episodes.
        pool: None, or how many different episodes there are: the first so many of the stream, again and again, from the
            second time on in another order each time. For training on few tasks.

    Raises:
        FewshotError: a value is of the wrong type or out of range.
    """

    way: int = 5
    shot: int | tuple[int, ...] = 1
    query: int = 15
    dirichlet: float | None = None
    episodes: int = 1000
    seed: int = 0
    pool: int | None = None

    def __post_init__(self):
        for name, least in (("way", 2), ("query", 1), ("episodes", 1), ("seed", 0)):
            _check_integer(name, getattr(self, name), least)
            object.__setattr__(self, name, int(getattr(self, name)))
        shot = self.shot
        if isinstance(shot, Integral):
            _check_integer("shot", shot, 0)
            object.__setattr__(self, "shot", int(shot))
        else:
            if isinstance(shot, str) or not hasattr(shot, "__iter__"):
                raise FewshotError(f"shot={shot!r}; expected a whole number, or one per class such as [1,1,5,5,5]")
            shot = tuple(shot)
            for value in shot:
                _check_integer("shot", value, 1)
            if len(shot) != self.way:
                raise FewshotError(f"shot={list(shot)} has {len(shot)} numbers for way={self.way}; give one per class")
            object.__setattr__(self, "shot", tuple(int(value) for value in shot))
        if self.pool is not None:
            _check_integer("pool", self.pool, 1)
            object.__setattr__(self, "pool", int(self.pool))
        if self.dirichlet is not None:
            least, most = _DIRICHLET
            if (
                isinstance(self.dirichlet, bool)
                or not isinstance(self.dirichlet, Real)
                or not least <= self.dirichlet <= most
            ):
                raise FewshotError(
                    f"dirichlet={self.dirichlet!r}; expected null or a number such as 2.0, from {least:g} to {most:g}"
                )
            object.__setattr__(self, "dirichlet", float(self.dirichlet))

    @property
    def shots(self) -> tuple[int, ...]:
        """Support items of each of the `way` classes."""
        return (self.shot,) * self.way if isinstance(self.shot, int) else self.shot

    @property
    def support_size(self) -> int:
        """Support items of one episode (S)."""
        return sum(self.shots)

    @property
    def query_size(self) -> int:
        """Query items of one episode (Q)."""
        return self.way * self.query

    @property
    def imbalance(self) -> str:
        """How query items spread over classes: `none` or `dirichlet(alpha)`."""
        return "none" if self.dirichlet is None else f"dirichlet({self.dirichlet:g})"

    @property
    def shot_text(self) -> str:
        """`shot` as a leaderboard row has it: `1`, or `1,1,5,5,5`."""
        return str(self.shot) if isinstance(self.shot, int) else ",".join(map(str, self.shot))

    def __str__(self) -> str:
        uneven = "" if self.dirichlet is None else f" {self.imbalance}"
        few = "" if self.pool is None else f", {self.pool} tasks"
        return f"{self.way}-way {self.shot_text}-shot {self.query}-query{uneven}{few}"

    def as_dict(self) -> dict:
        """The fields as plain JSON values; a pool only where there is one."""
        fields = {name: value for name, value in asdict(self).items() if name != "pool" or value is not None}
        return fields | {"shot": self.shot if isinstance(self.shot, int) else list(self.shot)}


def _check_integer(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise FewshotError(f"{name}={value!r}; expected a whole number")
    if not least <= value < 2**63:
        raise FewshotError(f"{name}={value}; expected at least {least}" + (", below 2^63" if value > least else ""))
