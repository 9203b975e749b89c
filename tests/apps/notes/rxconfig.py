import reflex as rx

config = rx.Config(app_name="notes", db_url="sqlite:///notes.db")
