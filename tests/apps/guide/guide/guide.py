import asyncio
import contextlib

import reflex as rx
from reflex_global_hotkey import global_hotkey_watcher
from reflex_type_animation import type_animation

started = asyncio.Event()


class Steps(rx.State, mixin=True):
    steps: list[str] = []

    @rx.var
    def trail(self) -> str:
        return " ".join(self.steps)


class Guide(Steps, rx.State):
    note: rx.Field[rx.Component] = rx.field(rx.fragment())
    theme: str = rx.SessionStorage("plain")

    @rx.event
    def arrive(self):
        self.steps = ["arrived"]

    @rx.event
    def slowly(self):
        for step in ("one", "two"):
            self.steps.append(step)
            yield
        yield rx.call_script("1 + 1", callback=Guide.hear)

    @rx.event
    def hear(self, answer: int):
        self.steps.append(str(answer))
        self.note = rx.text("made by an event", id="note")
        return Guide.behind

    @rx.event(background=True)
    async def behind(self):
        await asyncio.sleep(0.1)
        async with self:
            other = await self.get_state(Other)
            other.number += 5
            self.steps.append("behind")

    @rx.event
    def press(self, key: str):
        self.steps.append(key)

    @rx.event
    def save(self):
        self.theme = "dark"
        return rx.download(data=self.trail, filename="trail.txt")

    @rx.event
    def leave(self):
        return rx.redirect("/inside?from=home")


class Other(rx.State):
    number: int = 0

    @rx.var
    def origin(self) -> str:
        return self.router.url.query_parameters.get("from", "")

    @rx.var(cache=False)
    def running(self) -> bool:
        return started.is_set()


class Ruler(rx.Component):
    tag = "Ruler"

    def add_imports(self):
        return {"react": rx.ImportVar("useState")}

    def add_custom_code(self):
        return ["const Ruler = ({length}) => <b id='ruler'>{'-'.repeat(length)}</b>"]

    length: rx.Var[int]


@rx.memo
def badge(text: rx.Var[str]) -> rx.Component:
    return rx.badge(text, id="badge")


def waiting() -> rx.Component:
    return rx.text("one moment")


def index():
    color = rx._x.client_state("color", default="green")
    return rx.vstack(
        global_hotkey_watcher(on_key_down=lambda key, info: rx.cond(key == "k", Guide.press(key), rx.noop())),
        rx.box(type_animation(sequence=["typed"], cursor=False), id="typed"),
        badge(text=Guide.trail),
        Ruler.create(length=3),
        rx.box(Guide.note, id="made"),
        rx.text(color.value, id="color", on_click=color.set_value("red")),
        rx.match(Guide.theme, ("dark", rx.text("dark", id="theme")), rx.text("plain", id="theme")),
        rx.button("slowly", on_click=Guide.slowly, id="slowly"),
        rx.button("save", on_click=Guide.save, id="save"),
        rx.button("leave", on_click=Guide.leave, id="leave"),
    )


@rx.page(route="/inside", title="Inside")
def inside():
    return rx.vstack(
        rx.text(Other.number, id="number"),
        rx.text(Other.origin, id="origin"),
        rx.cond(Other.running, rx.text("running", id="running")),
    )


@contextlib.asynccontextmanager
async def lifespan():
    started.set()
    yield


app = rx.App(
    theme=rx.theme(appearance="light", accent_color="teal"),
    style={"font_family": "serif"},
    head_components=[rx.el.meta(name="author", content="guide")],
)
app.add_page(index, on_load=Guide.arrive)
app.register_lifespan_task(lifespan)
