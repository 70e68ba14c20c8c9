#!/usr/bin/env bash
# Flask 3.1.3 and Flask-WTF 1.3.0: after a rotation by SECRET_KEY_FALLBACKS sessions live on, and every open form is refused.
# Seen: with the old key in SECRET_KEY_FALLBACKS a session of before is read (the user stays logged in), and the CSRF token of a page that
# was open is refused with 400 "The CSRF token is invalid."; a token that is made anew in the same session is taken. Flask-WTF signs its
# tokens with SECRET_KEY alone and does not look at the fallbacks. Guess: what Flask still takes, its extension takes too.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check flask==3.1.3 flask-wtf==1.3.0
cat >see.py <<'END'
import flask
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf


def client(key, fallbacks=(), cookie=None):
    """A browser of an application with these keys, and with this session."""
    application = flask.Flask("shop")
    application.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks))
    CSRFProtect(application)

    @application.get("/form")
    def form():
        flask.session.setdefault("user", "ann")
        return generate_csrf()

    @application.post("/form")
    def send():
        return f"sent by {flask.session['user']}"

    @application.get("/who")
    def who():
        return flask.session.get("user", "nobody")

    browser = application.test_client()
    if cookie:
        browser.set_cookie("session", cookie)
    return browser


def post(browser, token):
    answer = browser.post("/form", data={"csrf_token": token})
    return answer.status_code, "The CSRF token is invalid." in answer.text


before = client("first-key")
token = before.get("/form").text
cookie = before.get_cookie("session").value
same = post(client("first-key", cookie=cookie), token)
after = client("second-key", ["first-key"], cookie)
who, open_form, new_form = after.get("/who").text, post(after, token), post(after, after.get("/form").text)
print("same key:", same, "rotated:", who, "open form:", open_form, "new form:", new_form)
assert same == (200, False)
assert who == "ann"
assert open_form == (400, True)
assert new_form == (200, False)
END
venv/bin/python see.py
