"""Sessions of browsers: a cookie for a key, a token for changes, and the way to the form."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.testclient import TestClient

from headroom.service.config import Page
from headroom.service.sessions import COOKIE, TOKEN_COOKIE
from headroom.settings import Settings
from support.web import SONG, Service, Start

FAR = "http://cellar.lan:8001"
NAVIGATES = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


def add_page(app: FastAPI, settings: Settings, family: str) -> None:
    for path in ("/ui/", "/login"):
        app.add_api_route(path, lambda: HTMLResponse("<p>"), include_in_schema=False)


PAGE = Page("/ui", "/login", "default-src 'self'", add_page)


def signed_in(service: Service, *scopes: str) -> tuple[TestClient, str]:
    """A browser elsewhere with the cookie of a new key, and its token."""
    _, secret = service.key(*scopes)
    browser = service.client_at("10.0.0.9", Origin=FAR)
    answer = browser.post("/v1/session", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 201
    kept = answer.headers.get_list("set-cookie")
    assert all("SameSite=strict" in one and "Path=/" in one for one in kept)
    assert [("HttpOnly" in one, one.split("=")[0]) for one in kept] == [
        (True, COOKIE),
        (False, TOKEN_COOKIE),
    ]
    return browser, str(answer.json()["token"])


def test_a_cookie_stands_for_the_key_and_is_not_the_key(service: Service) -> None:
    browser, token = signed_in(service)
    shown = browser.get("/v1/session").json()
    assert shown["token"] == token and shown["admin"] is False
    assert "hr_" not in str(browser.cookies[COOKIE])
    assert browser.get("/v1/jobs").json() == {"jobs": [], "next": None}


def test_a_change_needs_the_token_of_this_session(service: Service) -> None:
    browser, token = signed_in(service)
    _, other = signed_in(service)
    for given in ({}, {"X-Headroom-Token": other}, {"X-Headroom-Token": ""}):
        answer = browser.post("/v1/jobs", json=SONG, headers=given)
        assert (answer.status_code, answer.json()["code"]) == (403, "no_token")
    made = browser.post("/v1/jobs", json=SONG, headers={"X-Headroom-Token": token})
    assert made.status_code == 202
    assert browser.delete(f"/v1/jobs/{made.json()['id']}").status_code == 403


def test_two_browsers_see_their_own_jobs_only(service: Service) -> None:
    (first, token), (second, _) = signed_in(service), signed_in(service)
    made = first.post("/v1/jobs", json=SONG, headers={"X-Headroom-Token": token}).json()["id"]
    assert [job["id"] for job in first.get("/v1/jobs").json()["jobs"]] == [made]
    assert second.get("/v1/jobs").json()["jobs"] == []
    assert second.get(f"/v1/jobs/{made}").status_code == 404


def test_a_cookie_that_was_changed_or_whose_key_is_revoked_opens_nothing(start: Start) -> None:
    service = start(hosts=("cellar.lan",))
    browser, _ = signed_in(service)
    value = str(browser.cookies[COOKIE])
    key, until, signed = value.split(".")
    longer = f"{key}.{int(until) + 1}.{signed}"
    past = f"{key}.1.{signed}"
    for wrong in (longer, past, "x", f"settings.{until}.{signed}", value[:-1]):
        forged = service.client_at("10.0.0.9", cookie=f"{COOKIE}={wrong}")
        assert forged.get("/v1/jobs").status_code == 401, wrong
    assert browser.get("/v1/jobs").status_code == 200
    service.doors.keys.revoke(key)
    assert browser.get("/v1/jobs").status_code == 401


def test_the_key_of_the_settings_has_sessions_too(start: Start) -> None:
    service = start(key="k" * 20)
    browser = service.client_at("10.0.0.9", Origin=FAR)
    answer = browser.post("/v1/session", headers={"X-API-Key": "k" * 20})
    assert answer.json()["admin"] is True
    assert browser.get("/v1/jobs").status_code == 200
    changed = start(key="l" * 20, hosts=("cellar.lan",)).client_at(
        "10.0.0.9", cookie=f"{COOKIE}={browser.cookies[COOKIE]}"
    )
    assert changed.get("/v1/jobs").status_code == 401


def test_on_this_machine_no_session_is_needed(service: Service) -> None:
    answer = service.client.post("/v1/session")
    assert (answer.status_code, answer.json()["token"]) == (201, None)
    assert "set-cookie" not in answer.headers


def test_a_session_ends(start: Start) -> None:
    service = start(hosts=("cellar.lan",))
    browser, token = signed_in(service)
    answer = browser.delete("/v1/session", headers={"X-Headroom-Token": token})
    assert answer.status_code == 204
    assert browser.get("/v1/jobs").status_code == 401


def test_over_tls_the_cookie_stays_on_tls(service: Service) -> None:
    _, secret = service.key()
    browser = service.client_at("10.0.0.9", Origin="https://cellar.lan:8001")
    answer = browser.post("/v1/session", headers={"X-API-Key": secret})
    assert all("Secure" in one for one in answer.headers.get_list("set-cookie"))


def test_the_page_leads_to_the_form_for_a_key_which_is_open(start: Start) -> None:
    service = start(page=PAGE)  # whose name elsewhere no setting lists
    browser = service.client_at("10.0.0.9")
    for path in ("/", "/ui", "/ui/", "/ui/anything"):
        answer = browser.get(path, headers=NAVIGATES, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
    assert browser.get("/ui/config").status_code == 401
    assert browser.get("/v1/jobs", headers=NAVIGATES).status_code == 400
    assert browser.post("/ui/", headers=NAVIGATES).status_code == 401
    assert browser.get("/login").status_code == 200


def test_pages_have_a_policy_of_their_own(start: Start) -> None:
    service = start(page=PAGE)
    policies = {
        path: service.client.get(path).headers["content-security-policy"]
        for path in ("/ui/", "/login", "/v1/jobs", "/uixy")
    }
    assert policies["/ui/"] == policies["/login"] == PAGE.policy
    assert policies["/v1/jobs"] == policies["/uixy"] == "default-src 'none'; frame-ancestors 'none'"
