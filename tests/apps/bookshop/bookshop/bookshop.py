import reflex as rx

from bookshop.pages.hours import book, hours
from bookshop.pages.shelf import shelf
from bookshop.state import Shelf

app = rx.App(stylesheets=["/shop.css"])
app.add_page(shelf, route="/", title="Bookshop", on_load=Shelf.look)
app.add_page(hours, route="/hours", title="Opening hours")
app.add_page(book, route="/book/[title]", title="A book")
