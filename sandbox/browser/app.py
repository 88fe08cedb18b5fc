"""The browser's addresses as a part of the sandbox's application."""

from aiohttp import web

from sandbox.answers import CONTROL_PREFIX
from sandbox.browser import control, deposits, handlers, pages, script

WINDOW = "/v1/windows/{window:[A-Za-z0-9_-]+}"

ROUTES = [
    web.get("/v1/iamport.js", script.classic_script),
    web.get("/v1/iamport.esm.js", script.module_script),
    web.get("/v1/static/{name}", pages.FILES.serve),
    web.get("/v1/frame", pages.frame_page),
    web.get("/v1/channels", handlers.list_account_channels),
    web.post("/v1/windows", handlers.open_requested_window),
    web.get(WINDOW, handlers.show_window),
    web.get(f"{WINDOW}/state", handlers.read_window),
    web.post(f"{WINDOW}/outcome", handlers.choose_outcome),
    web.get(f"{WINDOW}/return", handlers.return_to_page),
    web.get("/v1/deposits", deposits.show_page),
    web.get("/v1/deposits/{imp_uid}", deposits.show_page),
    web.get("/v1/deposits/{imp_uid}/state", deposits.read_account),
    web.post("/v1/deposits/{imp_uid}", deposits.pay_in),
    web.get("/payments/fail", pages.failure_page),
    web.post(f"{CONTROL_PREFIX}/window", control.set_autopilot),
    web.get(f"{CONTROL_PREFIX}/window", control.read_windows),
]
