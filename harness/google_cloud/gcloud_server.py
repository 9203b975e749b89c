"""Runs gcloud's commands in processes that are forked after its code was imported. gcloud's own Python runs this.

Arguments: gcloud's `lib` folder, the socket to listen on, and a file in which a command leaves what it has loaded: the
commands after it find that loaded.
"""

import contextlib
import ctypes
import faulthandler
import functools
import gc
import importlib
import itertools
import os
import pathlib
import pickle
import re
import signal
import socket
import sys
import time

lib, address, lessons = sys.argv[1:]
sys.path.insert(0, lib)
sys.argv = ["gcloud"]
import gcloud  # noqa: E402 - it is in the folder that was added just now

gcloud._fix_google_module()  # noqa: SLF001
import googlecloudsdk.gcloud_main as main  # noqa: E402
from googlecloudsdk.core import properties, transport  # noqa: E402
from googlecloudsdk.core.configurations import named_configs  # noqa: E402

# gcloud 528 has such a property for every API but these.
for api in ("billingbudgets", "servicenetworking"):
    if not hasattr(properties.VALUES.api_endpoint_overrides, api):
        properties.VALUES.api_endpoint_overrides._Add(api, command="gcloud services")  # noqa: SLF001

FRESH = [
    "googlecloudsdk.core.credentials.gce_read",
    "google.auth.compute_engine._metadata",
    "googlecloudsdk.core.credentials.gce_cache",
    "googlecloudsdk.core.credentials.gce",
]
"""Modules that read the metadata server's address from the environment when they are imported."""
ASKED_AGAIN = {
    "googlecloudsdk.core.requests": "GoogleAuthRequest",
    "googlecloudsdk.core.credentials.gce_read": "ReadNoProxy",
    "googlecloudsdk.command_lib.util.apis.registry": "GetAPICollections",
    "googlecloudsdk.api_lib.util.apis_internal": "GetApiDef",
}
"""Functions that a command calls up to a hundred times with the same arguments, by module."""
LONG = {"builds", "deploy", "execute", "proxy"}
"""Commands that may take as long as what they start."""
SECONDS = 45
"""How long any other command may take: one that is forked may find a lock taken, for good."""
IDLE = 1200
"""After how many seconds without a command it ends: whoever started it may have been killed."""


def stop_counting() -> None:
    """Have Python no longer count the references to what was loaded since the last time.

    A command's process gets a copy of each page that it writes to, and most of what it writes is such counts. From
    Python 3.12 on, an object with the largest count is never counted and never freed: https://peps.python.org/pep-0683/.
    """
    if sys.version_info < (3, 12):
        return
    for loaded in gc.get_objects():
        for each in (loaded, *gc.get_referents(loaded)):
            ctypes.c_uint32.from_address(id(each)).value = 0xFFFFFFFF


class Server:
    """Listens, and knows gcloud's tree of commands as far as it was loaded."""

    def __init__(self) -> None:
        """Load what every command needs."""
        self.lessons = pathlib.Path(lessons)
        re._MAXCACHE = 10_000  # noqa: SLF001 - of those that it compiles, a command forgets all but 512
        # Up to ten times a command it describes itself, and asks a database for the machine's architecture.
        transport.MakeUserAgentString = functools.lru_cache(transport.MakeUserAgentString)
        transport.GetAndCacheArchitecture = lambda platform: str(platform.architecture)
        self.cli = main.CreateCLI([])
        self.commands: set[str] = set()
        self.modules = set(sys.modules)

    def run(self) -> None:
        """Answer until the process is ended, or nobody asks any more."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the commands' processes
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            listener.settimeout(IDLE)
            while True:
                self.learn()
                stop_counting()
                gc.freeze()
                try:
                    caller, _ = listener.accept()
                except TimeoutError:
                    return
                if os.fork():
                    caller.close()
                    continue
                listener.close()
                self.answer(caller)

    def learn(self) -> None:
        """Load what an earlier command needed."""
        try:
            command, names, patterns = pickle.loads(self.lessons.read_bytes())  # noqa: S301 - written below
            self.lessons.unlink()
        except OSError:
            return
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        for pattern, flags in patterns:
            re.compile(pattern, flags)
        element = self.cli._CLI__top_element  # noqa: SLF001
        for word in command.split():
            element = element.LoadSubElement(word) if hasattr(element, "LoadSubElement") else None
        self.commands.add(command)
        self.modules = set(sys.modules)

    def teach(self, arguments: list[str]) -> None:
        """Leave this command up to its first option, and what it has loaded, unless the server knows both.

        Its regular expressions go along, which a server that has only loaded the modules would not have compiled.
        """
        words = itertools.takewhile(lambda word: word[:1].isalpha() and word.replace("-", "").isalpha(), arguments)
        command = " ".join(words)
        names = [name for name in sys.modules.keys() - self.modules if "__" not in name]
        if names or command not in self.commands:
            patterns = [(pattern, int(flags)) for _, pattern, flags in re._cache]  # noqa: SLF001
            written = self.lessons.with_suffix(f".{os.getpid()}")
            written.write_bytes(pickle.dumps((command, names, patterns)))
            written.rename(self.lessons)

    def answer(self, caller: socket.socket) -> None:
        """Run one command, in this process, which ends."""
        gc.disable()  # a collection would copy the memory that is shared
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(caller, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        data = b""
        while part := caller.recv(1 << 16):
            data += part
        folder, count, *rest = data.split(b"\0")
        arguments = [os.fsdecode(argument) for argument in rest[: int(count)]]
        os.environ.clear()
        os.environb.update(dict(variable.split(b"=", 1) for variable in rest[int(count) :]))
        # Every address is plain http here; reading certificates for each would take most of the time.
        os.environ["SSL_CERT_FILE"] = os.devnull
        os.chdir(folder)
        if not LONG & set(arguments):
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=2)
        sys.argv = ["gcloud", *arguments]
        named_configs.ActivePropertiesFile.Invalidate()
        for name in FRESH:
            if name in sys.modules and "GCE_METADATA_ROOT" in os.environ:
                importlib.reload(sys.modules[name])
        for name, function in ASKED_AGAIN.items():
            if module := sys.modules.get(name):
                setattr(module, function, functools.lru_cache(getattr(module, function)))
        # gcloud asks every second or two whether something is done, and here it is.
        time.sleep = functools.partial(lambda sleep, seconds: sleep(min(seconds, 0.05)), time.sleep)
        try:
            status = main.main(self.cli)
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        self.teach(arguments)
        caller.sendall(b"%d" % (status if isinstance(status, int) else int(status is not None)))
        os._exit(0)


Server().run()
os._exit(0)  # without freeing what is not counted
