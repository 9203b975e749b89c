import reflex as rx

config = rx.Config(app_name="guide", hydrate_fallback="guide.guide.waiting", plugins=[rx.plugins.RadixThemesPlugin()])
