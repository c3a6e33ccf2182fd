"""A model of garbage collection against those who push: every interleaving of the steps, and crashes between them.

The steps are those of src/catalog/sweep.c (judge, hide, look again, write, decide to take the file aside; a thread
moves it), of a worker that answers HEAD (mark, look), and of one that pushes (place the file, ask for a link). Files are
looked for and moved by one thread, in the order of asking (src/catalog/files.h), and the operation asks whether what was
found holds. Operations of the catalog are one thread: a push's link never runs inside the sweep's turn. A mutation of the
order (the `broken` models) must be caught, or the model proves nothing.
"""
import pytest


class World:
    """visible: index; link, blob: records; file, trash: where the bytes are; marked: somebody asked; found: what a
    pusher's thread has seen, by pusher, None when it does not hold; back: who may have it brought back; moving: the file is to go aside."""

    FIELDS = ("visible", "link", "blob", "file", "trash", "marked", "kept", "told", "linked", "turn", "found", "back",
              "moving")

    def __init__(self, values=None):
        self.__dict__.update(zip(self.FIELDS, values or (True, True, True, True, False, False, False, False, False, "",
                                                         (None, None), (False, False), False)))

    def key(self):
        return tuple(getattr(self, f) for f in self.FIELDS)


def changed(values, who, value):
    return tuple(value if i == who else v for i, v in enumerate(values))


def sweep(order, moving=True):
    def judge(w):
        w.turn = "sweep"
        w.kept = w.marked or not w.link

    def hide(w):
        if not w.kept:
            w.visible = False

    def look(w):
        if not w.kept and w.marked:
            w.kept = w.visible = True

    def write(w):  # records go in one batch; the turn ends
        if not w.kept:
            w.link = w.blob = False

    def aside(w):  # between turns: asks the records once more
        if not w.kept and not w.blob:
            if moving:
                w.found = (None, None)
            w.moving = True
        w.turn = ""

    def move(w):  # on a thread
        if w.moving and w.file:
            w.file, w.trash = False, True
        w.moving = False

    steps = {"judge": judge, "hide": hide, "look": look, "write": write, "aside": aside, "move": move}
    return [(steps[s], {"judge": "free", "move": None}.get(s, "sweep")) for s in order]


def head(order):
    def mark(w):
        w.marked = True

    def look(w):
        w.told = w.visible

    steps = {"mark": mark, "look": look}
    return [(steps[s], None) for s in order]


def push(bring_back=True, who=0, lane="lane"):
    def place(w):
        w.file = True

    def look(w):  # on a thread
        if not w.file and w.trash and w.back[who]:
            w.file, w.trash = True, False
        w.found = changed(w.found, who, w.file)

    def link(w):
        if w.found[who] is None or (not w.found[who] and bring_back and not w.back[who]):
            w.back = changed(w.back, who, bring_back)
            return look  # once more
        if w.found[who]:
            w.link = w.blob = w.visible = w.linked = w.marked = True
        else:
            w.linked = "refused"
        return None

    return [(place, None), (look, lane), (link, "free")]


def runnable(w, step):
    if step[1] == "lane":
        return not w.moving
    return step[1] is None or (w.turn == "" if step[1] == "free" else w.turn == step[1])


def outcomes(*actors):
    """Final states of every interleaving; a step of the catalog waits for its turn."""
    seen, final, stack = set(), set(), [(World().key(), (0,) * len(actors))]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        values, at = state
        moved = False
        for i, actor in enumerate(actors):
            w = World(values)
            if at[i] == len(actor) or not runnable(w, actor[at[i]]):
                continue
            again = actor[at[i]][0](w)
            after = at[i] + 1 if again is None else [s for s, _ in actor].index(again)
            stack.append((w.key(), changed(at, i, after)))
            moved = True
        if not moved:
            assert all(n == len(a) for n, a in zip(at, actors)), "stuck"
            final.add(values)
    return [World(v) for v in final]


def lost(w):
    """Somebody was told that it is here, or its push was acknowledged, and it is not."""
    promised = w.told or w.linked is True
    return promised and not (w.link and w.blob and w.file and w.visible) or w.blob and not w.file


GOOD_SWEEP = ("judge", "hide", "look", "write", "aside", "move")


def test_nothing_is_lost():
    for actors in ([head(("mark", "look"))], [push()], [head(("mark", "look")), push()], [push(), push(who=1)],
                   [head(("mark", "look")), head(("mark", "look")), push()]):
        ends = outcomes(sweep(GOOD_SWEEP), *actors)
        assert ends and not any(lost(w) for w in ends)
        assert not any(w.linked == "refused" for w in ends)
    assert any(not w.file for w in outcomes(sweep(GOOD_SWEEP), head(("mark", "look"))))  # and garbage does go


@pytest.mark.parametrize("actors", [
    [sweep(("judge", "look", "hide", "write", "aside", "move")), head(("mark", "look"))],  # looks before it hides
    [sweep(GOOD_SWEEP), head(("look", "mark"))],  # tells before it marks
    [sweep(GOOD_SWEEP, moving=False), push()],  # what was found counts although the file was moved since
    [sweep(GOOD_SWEEP), push(lane=None)],  # a look that does not wait for the move
], ids=["look before hide", "told before marked", "found before moved", "looked before the move"])
def test_another_order_loses(actors):
    assert any(lost(w) for w in outcomes(*actors))


def test_without_the_trash_pushes_fail():
    assert any(w.linked == "refused" for w in outcomes(sweep(GOOD_SWEEP), push(bring_back=False)))
