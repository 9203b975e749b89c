import reflex as rx

config = rx.Config(app_name="page_states")
