"""Bytes on a socket, for what no HTTP library would send."""
import socket


def connect(daemon, timeout=20, receive_bytes=None):
    """`receive_bytes`: so much may lie in our kernel before it takes no more."""
    s = socket.socket()
    if receive_bytes:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    s.settimeout(timeout)
    s.connect(("127.0.0.1", daemon.port))
    return s


def read_response(sock, head_only=False):
    """One response: (status, headers in lower case, body). None when the peer closed at once."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    headers = {}
    for line in lines[1:]:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    if status == 100:
        return status, headers, rest
    want = 0 if head_only else int(headers.get("content-length", 0))
    while len(rest) < want:
        piece = sock.recv(65536)
        if not piece:
            break
        rest += piece
    return status, headers, rest


def closed(sock):
    """Whether the peer ends the connection (without further bytes)."""
    try:
        return sock.recv(65536) == b""
    except ConnectionResetError:
        return True


def exchange(daemon, data):
    """Sends bytes, returns the first response (or None)."""
    with connect(daemon) as s:
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_response(s)
