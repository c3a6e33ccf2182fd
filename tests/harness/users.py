"""Files of users, and who they are."""
import base64
import ctypes
import ctypes.util
import os


def bcrypt(password, cost=4):
    """Hashes as htpasswd -B does; cheap, so that tests are."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypt"))
    lib.crypt_gensalt.restype = lib.crypt.restype = ctypes.c_char_p
    salt = lib.crypt_gensalt(b"$2b$", ctypes.c_ulong(cost), os.urandom(16), 16)
    return lib.crypt(password.encode(), salt).decode()


def write_users(path, users, cost=4):
    """{name: password} into a file, replaced as a whole."""
    new = path.with_name(path.name + ".new")
    hashes = {p: bcrypt(p, cost) for p in set(users.values())}
    new.write_text("# users of a test\n" + "".join(f"{n}:{hashes[p]}\n" for n, p in users.items()))
    new.chmod(0o644)
    new.rename(path)


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}
