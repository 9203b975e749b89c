"""Pages, events and API routes that a starter has not: what fails, takes long, blocks, or tells who its visitor is."""

import asyncio
import logging
import os
import time

import reflex as rx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

SECONDS = float(os.environ.get("SECONDS", "1"))
"""How long `Long.run` takes."""


class Blocking(rx.State):
    @rx.event
    def block(self):
        time.sleep(30)


class Failing(rx.State):
    @rx.event
    def fail(self):
        raise ValueError("this one fails")

    @rx.event
    def report(self):
        logging.getLogger("shop").warning("an order\nof two lines")


class Loaded(rx.State):
    text: str = "nothing yet"

    @rx.event
    def load(self):
        self.text = "it is loaded"


class Long(rx.State):
    @rx.event
    async def run(self):
        print("begun", flush=True)
        await asyncio.sleep(SECONDS)
        print("handler ended", flush=True)


class Who(rx.State):
    address: str = ""

    @rx.event
    def look(self):
        self.address = self.router.session.client_ip


async def order(_: Request):
    logging.getLogger("shop").warning("an order by the API")
    return PlainTextResponse("ok")


async def long(request: Request):
    print("asked", flush=True)
    await asyncio.sleep(float(request.query_params["seconds"]))
    return PlainTextResponse("done")


def add_to(app):
    app.add_page(lambda: rx.el.button("block", id="block", on_click=Blocking.block), route="/blocking")
    app.add_page(lambda: rx.el.p(Loaded.text, id="loaded"), route="/loading", on_load=Loaded.load)
    events = [Failing.fail, Failing.report, Long.run, Who.look]
    app.add_page(lambda: rx.el.p(Who.address, *(rx.el.button(on_click=event) for event in events)), route="/more")
    app.api_transformer = Starlette()
    app.api_transformer.add_route("/api/order", order)
    app.api_transformer.add_route("/long", long)
