import reflex as rx

class Choice(rx.State):
    option : str = "none"
    text : str = ''

def index() -> rx.Component:
    return rx.el.div(
        rx.el.select(rx.el.option("tea"), rx.el.option("coffee"), on_change=Choice.set_option, id="options"),
        rx.el.input(on_change = Choice.set_text, id="text"),
        rx.el.p(Choice.option, id="option"), rx.el.p(Choice.text, id="said"),
        rx.el.button("reset", on_click=Choice.setvar("option", "none"), id="reset"))

app = rx.App()
app.add_page(index)
