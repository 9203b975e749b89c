import secrets

import bcrypt
import reflex as rx

SESSIONS: dict[str, str] = {}
PASSWORDS = {"ada": bcrypt.hashpw(b"engine", bcrypt.gensalt(4))}


class Login(rx.State):
    session: str = rx.Cookie("", name="session", same_site="strict")
    color: str = rx.LocalStorage("green", name="color")
    problem: str = ""

    @rx.var
    def user(self) -> str:
        return SESSIONS.get(self.session, "")

    @rx.event
    def enter(self, form: dict):
        known = PASSWORDS.get(form["name"])
        if not known or not bcrypt.checkpw(form["password"].encode(), known):
            self.problem = "no such name or password"
            return None
        self.session = secrets.token_hex()
        SESSIONS[self.session] = form["name"]
        return rx.redirect("/inside")

    @rx.event
    def leave(self):
        SESSIONS.pop(self.session, None)
        self.session = ""
        return rx.redirect("/")

    @rx.event
    def guard(self):
        if not self.user:
            return rx.redirect("/")

    @rx.event
    def paint(self):
        self.color = "blue"


def index():
    return rx.form(
        rx.input(name="name", id="name"),
        rx.input(name="password", id="password", type="password"),
        rx.button("enter", id="enter"),
        rx.text(Login.problem, id="problem"),
        on_submit=Login.enter,
    )


def inside():
    return rx.cond(
        Login.user != "",
        rx.vstack(
            rx.text(Login.user, id="user"),
            rx.text(Login.color, id="color"),
            rx.button("blue", on_click=Login.paint, id="paint"),
            rx.button("leave", on_click=Login.leave, id="leave"),
        ),
    )


app = rx.App()
app.add_page(index)
app.add_page(inside, route="/inside", on_load=Login.guard)
