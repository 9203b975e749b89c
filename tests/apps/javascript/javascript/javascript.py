import reflex as rx

shout_file = rx.asset("shout.jsx", shared=True)


class Shout(rx.Component):
    library = f"$/public/{shout_file}"
    tag = "Shout"
    word: rx.Var[str]
    on_shout: rx.EventHandler[rx.event.passthrough_event_spec(str)]


class Confetti(rx.NoSSRComponent):
    library = "react-confetti@6.4.0"
    tag = "ReactConfetti"
    is_default = True


class Heard(rx.State):
    word: str = ""

    @rx.event
    def hear(self, word: str):
        self.word = word


def index():
    return rx.vstack(
        Shout.create(word="tea", on_shout=Heard.hear),
        rx.text(Heard.word, id="heard"),
        rx.cond(Heard.word != "", rx.box(Confetti.create(), id="confetti")),
    )


app = rx.App(stylesheets=["/Shout.css"])
app.add_page(index)
