"""A page with a component of each kind that Reflex's documentation shows, except those that need another package."""

import reflex as rx
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

POINTS = [{"name": "a", "up": 4, "down": 2}, {"name": "b", "up": 3, "down": 5}]
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
TEXT = "# Tea for $x^2$\n\n```python\nprint(1)\n```\n\n| leaf |\n| --- |\n| green |"


class Choice(rx.State):
    """What a visitor picks."""

    icon: str = "heart"
    names: rx.Field[list[str]] = rx.field(default_factory=lambda: ["a", "b"])

    @rx.event
    def pick(self, icon: str):
        """Keep it."""
        self.icon = icon

    @rx.event
    def paste(self, data: list[tuple[str, str]]):
        """Keep what was pasted."""
        self.names = [text for _, text in data]


def layout() -> list[rx.Component]:
    """Boxes and what is in them."""
    return [
        rx.accordion.root(rx.accordion.item(header="a", content="b")),
        rx.aspect_ratio(rx.box("a"), ratio=1),
        rx.card(rx.inset(rx.text("a"))),
        rx.center(rx.container(rx.section("a"))),
        rx.divider(),
        rx.flex("a", rx.spacer(), "b"),
        rx.grid("a", "b", columns="2"),
        rx.scroll_area(rx.text("a"), style={"height": 20}),
        rx.auto_scroll(rx.text("a")),
        rx.tabs.root(rx.tabs.list(rx.tabs.trigger("a", value="a")), rx.tabs.content("b", value="a"), default_value="a"),
        rx.mobile_only(rx.text("a")),
        rx.color_mode.button(),
        rx.theme_panel(default_open=False),
    ]


def shown() -> list[rx.Component]:
    """Text, pictures and tables."""
    return [
        rx.avatar(fallback="A"),
        rx.badge("a"),
        rx.blockquote("a"),
        rx.callout("a", icon="info"),
        rx.code("a"),
        rx.code_block("print(1)", language="python"),
        rx._x.code_block("print(1)", language="python"),
        rx.data_editor(columns=[{"title": "a", "type": "str"}], data=[["b"]], rows=1),
        rx.data_list.root(rx.data_list.item(rx.data_list.label("a"), rx.data_list.value("b"))),
        rx.data_table(data=[["a"]], columns=["b"]),
        rx.html("<b style='color: red'>a</b><script>window.third = true</script>"),
        rx.icon("heart"),
        rx.icon(Choice.icon),
        rx.image(src="/favicon.svg"),
        rx.image(src=PIXEL),
        rx.link("a", href="https://links.example/"),
        rx.list.unordered(rx.list.item("a")),
        rx.logo(),
        rx.markdown(TEXT),
        rx.moment(date="2026-01-01"),
        rx.progress(value=3),
        rx.skeleton(rx.text("a")),
        rx.spinner(),
        rx.table.root(rx.table.header(rx.table.row(rx.table.column_header_cell("a")))),
        rx.el.iframe(src="/about"),
        rx.el.style(".none {color: black}"),
        rx.el.svg(rx.el.svg.circle(cx=5, cy=5, r=3)),
        rx.script("window.first = true"),
        rx.el.script("window.second = true"),
        rx.recharts.line_chart(
            rx.recharts.line(data_key="up"), rx.recharts.x_axis(data_key="name"), data=POINTS, width=200, height=100
        ),
        rx.recharts.bar_chart(rx.recharts.bar(data_key="down"), data=POINTS, width=200, height=100),
        rx.recharts.pie_chart(rx.recharts.pie(data=POINTS, data_key="up", name_key="name"), width=200, height=100),
    ]


def asked() -> list[rx.Component]:
    """What a visitor writes, picks and opens."""
    opener = rx.button("a")
    return [
        rx.alert_dialog.root(rx.alert_dialog.trigger(opener), rx.alert_dialog.content("b")),
        rx.context_menu.root(rx.context_menu.trigger(opener), rx.context_menu.content(rx.context_menu.item("b"))),
        rx.dialog.root(rx.dialog.trigger(opener), rx.dialog.content("b")),
        rx.drawer.root(rx.drawer.trigger(opener), rx.drawer.portal(rx.drawer.content("b"))),
        rx.hover_card.root(rx.hover_card.trigger(rx.link("a")), rx.hover_card.content("b")),
        rx.menu.root(rx.menu.trigger(opener), rx.menu.content(rx.menu.item("b"))),
        rx.popover.root(rx.popover.trigger(opener), rx.popover.content("b")),
        rx.tooltip(opener, content="b"),
        rx.button("a", on_click=rx.toast("b")),
        rx.button("a", on_click=rx.download(data="b", filename="b.txt")),
        rx.checkbox("a"),
        rx.checkbox_cards.root(rx.checkbox_cards.item("a", value="a")),
        rx.clipboard(on_paste=Choice.paste),
        rx.debounce_input(rx.input(on_change=Choice.pick, value=Choice.icon), debounce_timeout=100),
        rx.form(rx.input(name="a"), rx.button("b", type="submit")),
        rx.radio(["a", "b"]),
        rx.radio_cards.root(rx.radio_cards.item("a", value="a")),
        rx.segmented_control.root(rx.segmented_control.item("a", value="a")),
        rx.select(["a", "b"]),
        rx.slider(default_value=3),
        rx.switch(),
        rx.text_area(),
        rx.upload(rx.text("a"), id="upload"),
        rx.cond(Choice.icon == "heart", rx.text("a"), rx.text("b")),
        rx.foreach(Choice.names, rx.text),
        rx.match(Choice.icon, ("heart", rx.text("a")), rx.text("b")),
    ]


def components() -> rx.Component:
    """All of them, each in a box that the test counts."""
    return rx.box(*(rx.box(part, class_name="part") for part in layout() + shown() + asked()))


async def docs(_) -> HTMLResponse:
    """Answer as an API's documentation does, with a script."""
    return HTMLResponse("<script>document.title = 'docs'</script>")


def add_to(app: rx.App) -> None:
    """Add the page and the API."""
    app.add_page(components, route="/parts")
    app.api_transformer = Starlette(routes=[Route("/docs", docs)])
