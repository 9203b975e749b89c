import reflex as rx

config = rx.Config(app_name="setters", state_auto_setters=True, transport="polling")
