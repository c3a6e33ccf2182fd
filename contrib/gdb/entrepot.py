"""Commands for gdb that show what Entrepot's processes have in memory: of a live one or of a core.

    gdb -p PID -x contrib/gdb/entrepot.py        gdb build/entrepotd CORE -x contrib/gdb/entrepot.py

    entrepot-role                        which process this is
    entrepot-turn                        catalog: the changes that wait, for files too, and those of the running turn
    entrepot-index [REPO IMAGE REF]      catalog, worker, fetcher: the shared index, or one name's entries in it
    entrepot-board                       any: downloads, as workers see them
    entrepot-jobs                        fetcher: downloads and who waits for them

All begin at role_begin()'s only variable, so they need the symbols of the build (-g) and no frame.
"""
import struct

import gdb

KINDS = "BMTCN"
MAIN = {"catalog": "struct catalog", "fetcher": "struct fetch", "worker": "struct worker", "auth": "struct loop"}
UNKNOWN = (1 << 64) - 1


def text(pointer):
    return pointer.string() if int(pointer) else "-"


def role():
    """(name, what the process's main function owns, struct role_start)."""
    try:
        setup = gdb.parse_and_eval("role_begin::only")["setup"]
    except gdb.error as e:
        raise gdb.GdbError(f"no symbols of entrepotd here: {e}") from e
    if int(setup["start"]) == 0:
        raise gdb.GdbError("this process has no role: the master, or one that has only begun")
    name = setup["start"]["name"].string()
    return name, setup["ctx"].cast(gdb.lookup_type(MAIN[name]).pointer()).dereference(), setup["start"].dereference()


def of(wanted):
    name, owned, _ = role()
    if name != wanted:
        raise gdb.GdbError(f"this is the {name}; the {wanted} has it")
    return owned


def tail_queue(head, link):
    """Elements of a TAILQ or STAILQ; `link`: the field that chains them."""
    fields = {f.name for f in head.type.fields()}
    prefix = "tqh" if "tqh_first" in fields else "stqh"
    at = head[prefix + "_first"]
    while int(at):
        yield at.dereference()
        at = at[link][prefix.replace("h", "e") + "_next"] if prefix == "tqh" else at[link]["stqe_next"]


def digest(d):
    length = {1: 32, 2: 64}.get(int(d["alg"]), 0)
    raw = bytes(int(d["bytes"][i]) for i in range(length))
    return {1: "sha256:", 2: "sha512:"}.get(int(d["alg"]), "none") + raw.hex()


def plain(value):
    """An _Atomic number."""
    return int(value.cast(value.type.unqualified()))


class Command(gdb.Command):
    name = ""

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_DATA)

    def invoke(self, argument, _tty):
        self.show(*gdb.string_to_argv(argument))


class Role(Command):
    """Which process of entrepotd this is."""
    name = "entrepot-role"

    def show(self):
        name, owned, start = role()
        print(f"{name}, slot {int(start['slot'])}, generation {int(start['generation'])}, configuration "
              f"{text(start['conf']['file'])}, {owned.type} at {int(owned.address):#x}")


class Turn(Command):
    """The catalog's turn: what waits, for files too, and what runs."""
    name = "entrepot-turn"

    def items(self, head):
        count = 0
        for item in tail_queue(head, "entry"):
            count += 1
            what = str(item["task"]["run"]) if int(item["task"]) else str(item["op"])
            what = what.split("<")[-1].rstrip(">")
            flags = [f.name for f in item.type.fields() if f.type.code == gdb.TYPE_CODE_BOOL and item[f.name]]
            whose = "its own" if int(item["task"]) else f"peer {int(item['to']['peer'])} id {int(item['to']['id'])} " \
                f"{int(item['question']['len'])} bytes"
            print(f"  {what:24} {whose} {' '.join(flags)}")
        return count

    def lanes(self, catalog):
        """What waits for files of blobs (src/catalog/files.h): changes that need one, and files that go."""
        count = 0
        for i in range(int(catalog["conf"]["store_count"])):
            lane = catalog["files"]["lanes"][i]
            for name in ("working", "waiting"):
                for ask in tail_queue(lane[name], "entry"):
                    count += 1
                    print(f"  {text(catalog['conf']['stores'][i]['name'])} {name} {ask['task']} {digest(ask['digest'])}")
        return count

    def show(self):
        catalog = of("catalog")
        turn = catalog["turn"].dereference()
        print("waiting:")
        waiting = self.items(turn["waiting"])
        print("waiting for files:")
        files = self.lanes(catalog)
        print("running:")
        running = self.items(turn["running"])
        flags = [f.name for f in turn.type.fields() if f.type.code == gdb.TYPE_CODE_BOOL and turn[f.name]]
        print(f"{waiting} wait, {files} for files, {running} run; {' '.join(flags)}; database {'open' if int(catalog['db']) else 'closed'}")


def siphash(key, data):
    """SipHash-2-4 of 128 bits (src/base/siphash.c)."""
    mask = UNKNOWN
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def left(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[1] = left(v[1], 13) ^ v[0]
            v[0] = left(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = left(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = left(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = left(v[1], 17) ^ v[2]
            v[2] = left(v[2], 32)

    whole = len(data) // 8 * 8
    words = [*struct.unpack(f"<{whole // 8}Q", data[:whole]), int.from_bytes(data[whole:], "little") | (len(data) & 255) << 56]
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xee
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xdd
    rounds(4)
    return first, v[0] ^ v[1] ^ v[2] ^ v[3]


class Index(Command):
    """The shared index. With REPO IMAGE REF: its entries of that name (REF: a tag or a digest)."""
    name = "entrepot-index"

    def header(self):
        name, owned, _ = role()
        if name == "auth":
            raise gdb.GdbError("AUTH has no index")
        header = (owned["api"]["index"] if name == "worker" else owned["index"])["header"]
        if int(header) == 0:
            raise gdb.GdbError("there is no index yet")
        return header

    def lookup(self, header, repo, image, ref):
        h = header.dereference()
        seed = bytes(int(h["seed"][i]) for i in range(16))
        slots = gdb.Value(int(header) + int(h["slots_offset"])).cast(gdb.lookup_type("struct index_slot").pointer())
        mask = int(h["slot_count"]) - 1
        for kind in KINDS:
            key = siphash(seed, b"".join(part.encode() + b"\0" for part in (kind + repo, image, ref)))
            at = key[0] & mask
            while plain(slots[at]["state"]) != 0:
                if (int(slots[at]["key"][0]), int(slots[at]["key"][1])) == key:
                    self.entry(header, kind, slots[at])
                    break
                at = (at + 1) & mask

    def entry(self, header, kind, slot):
        value = plain(slot["value"])
        state = {1: "live", 2: "dead"}.get(plain(slot["state"]), "?")
        if kind in "BCN":
            print(f"  {kind} {state} {value}")
            return
        record = gdb.Value(int(header) + value).cast(gdb.lookup_type("struct index_record").pointer()).dereference()
        media_type = record["media_type"].address.cast(gdb.lookup_type("char").pointer()).string()
        print(f"  {kind} {state} {digest(record['digest'])} {int(record['size'])} bytes {media_type}")

    def show(self, *name):
        header = self.header()
        h = header.dereference()
        states = gdb.lookup_type("enum index_map_state")
        print(f"generation {int(h['generation'])}, {gdb.Value(plain(h['state'])).cast(states)}, {plain(h['slots_used'])} of "
              f"{int(h['slot_count'])} slots used, {plain(h['slots_dead'])} dead, {plain(h['arena_used'])} of {int(h['arena_size'])} bytes of records")
        if len(name) == 3:
            self.lookup(header, *name)
        elif name:
            raise gdb.GdbError("entrepot-index, or entrepot-index REPO IMAGE REF")


class Board(Command):
    """Downloads as they stand on the board."""
    name = "entrepot-board"

    def show(self):
        board = role()[2]["board"].dereference()
        states = gdb.lookup_type("enum board_state")
        first, last = board["slots"].type.range()
        taken = 0
        for i in range(first, last + 1):
            slot = board["slots"][i]
            if plain(slot["epoch"]) == 0:
                continue
            taken += 1
            total = plain(slot["total"])
            print(f"  slot {i} epoch {plain(slot['epoch'])} {gdb.Value(plain(slot['state'])).cast(states)} "
                  f"{plain(slot['have'])} of {'?' if total == UNKNOWN else total}")
        print(f"{taken} of {last + 1} slots taken")


class Jobs(Command):
    """The fetcher's downloads."""
    name = "entrepot-jobs"

    def show(self):
        jobs = of("fetcher")["jobs"].dereference()
        for job in tail_queue(jobs["list"], "all"):
            total = int(job["total"])
            waits = sum(1 for _ in tail_queue(job["waiters"], "entry"))
            images = [text(i["name"]) for i in tail_queue(job["images"], "entry")]
            peers = [int(p["id"]) for p in tail_queue(job["peers"], "entry")]
            flags = [f.name for f in job.type.fields() if f.type.code == gdb.TYPE_CODE_BOOL and job[f.name]]
            print(f"  {text(job['proxy']['repo']['name'])} {digest(job['digest'])} {job['phase']} slot {int(job['slot'])}\n"
                  f"    {int(job['part']['size'])} of {'?' if total == UNKNOWN else total} bytes, {int(job['attempts'])} attempts, "
                  f"{int(job['resumes'])} resumes, {waits} wait, peers {peers}, images {images} {' '.join(flags)}")
        print(f"{int(jobs['done'])} done, {int(jobs['failed'])} failed")


for command in (Role, Turn, Index, Board, Jobs):
    command()
