import reflex as rx

class Choice(rx.State):
    option : str = "none"
    text : str = ''

def index() -> rx.Component:
    return rx.vstack(
        rx.el.select(rx.el.option("tea"), rx.el.option("coffee"), on_change=Choice.set_option, id="options"),
        rx.input(on_change = Choice.set_text, id="text"),
        rx.text(Choice.option, id="option"), rx.text(Choice.text, id="said"),
        rx.button("reset", on_click=Choice.setvar("option", "none"), id="reset"))

app = rx.App()
app.add_page(index)
