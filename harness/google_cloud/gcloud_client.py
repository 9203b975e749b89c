"""Has the server next to it run a gcloud command: what the tests find as `gcloud`. It starts 6,000 times in a test run.

Arguments: the server's socket, the real gcloud, and the command's own. It imports nothing that costs more than a
millisecond, and passes its streams on.
"""

import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SHUT_WR, SOL_SOCKET, socket

address, program, *arguments = sys.argv[1:]
server = socket(AF_UNIX)
try:
    server.connect(address)
except OSError:  # it ended: nobody had asked it for a while
    os.execv(program, [program, *arguments])  # noqa: S606
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([b"."], [(SOL_SOCKET, SCM_RIGHTS, streams)])
variables = [name + b"=" + value for name, value in os.environb.items()]
parts = [os.getcwdb(), b"%d" % len(arguments), *map(os.fsencode, arguments), *variables]  # noqa: PTH109 - pathlib takes 10 ms
server.sendall(b"\0".join(parts))
server.shutdown(SHUT_WR)
status = server.recv(16)
if not status:  # it did not end within its time, or crashed: once more, by gcloud alone
    os.execv(program, [program, *arguments])  # noqa: S606
os._exit(int(status))
