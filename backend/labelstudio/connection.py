"""HTTP to one Label Studio: authentication, timeouts, and what an error means."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry

from backend.errors import LabelStudioError, LabelStudioMissing, LabelStudioSilent

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
#: An access token lives for 300 s; it is renewed before that.
ACCESS_TOKEN_S = 240.0
#: Answers that do not depend on the request: the token is refused, or a proxy finds no server.
SILENT = (401, 502, 503, 504)

_MISSING = "It is not there: was the project or task deleted?"
_NOT_ITS_OWN = "Label Studio itself says more; does it run behind the proxy that answered?"


class Connection:
    """Requests to the configured Label Studio and to no other host.

    Parameters
    ----------
    url
        Its address, with a path when it runs under one.
    token
        A legacy token (40 hex digits), or a personal access token (three parts with dots), which is
        exchanged for short-lived access tokens.
    browser_url
        The address under which browsers reach it. Label Studio names some of its files by this
        address; they are fetched under ``url``.
    """

    def __init__(self, url: str, token: str, browser_url: str = "") -> None:
        self.url = url.rstrip("/")
        self._browser_url = browser_url.rstrip("/")
        self._token = token
        self._access = ("", 0.0)
        self._renewing = threading.Lock()
        self._session = requests.Session()
        self._session.auth = _as_it_is  # otherwise a .netrc would replace the token
        # A proxy cannot reach this machine itself.
        self._session.trust_env = not _is_here(self.url)
        only_get = _Retry(
            total=2,
            backoff_factor=0.3,
            status_forcelist=(502, 503, 504),
            allowed_methods=frozenset({"GET"}),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=only_get, pool_maxsize=16))

    def json(self, method: str, path: str, **sent: Any) -> Any:
        """Return the answer's JSON.

        Raises
        ------
        LabelStudioError
            As in :meth:`request`; also if the answer is no JSON, as when the server was killed
            meanwhile.
        """
        answer = self.request(method, path, **sent)
        if not answer.content:
            raise LabelStudioSilent(
                f"Label Studio at {self.url} broke off its answer to {method} {path}: was it"
                " stopped? Try again when it runs."
            )
        try:
            return answer.json()
        except requests.JSONDecodeError as error:
            raise self.no_label_studio(path) from error

    def no_label_studio(self, path: str) -> LabelStudioError:
        """Return the error for a server that does not answer as Label Studio does."""
        return LabelStudioError(
            f"{self.url}{path} did not answer as Label Studio does; is one there?"
        )

    def request(self, method: str, path: str, **sent: Any) -> requests.Response:
        """Call a path of the API.

        Raises
        ------
        LabelStudioMissing
            There is no such project, task or file.
        LabelStudioSilent
            Label Studio could not be reached, was too slow, or refuses the token.
        LabelStudioError
            Label Studio refused; the message says what to do.
        """
        answer = self._send(method, self.address(path), self._authorisation(), sent)
        if answer.status_code == 401 and self._is_personal:
            self._access = ("", 0.0)  # expired early, as after a change of the server's clock
            answer = self._send(method, self.address(path), self._authorisation(), sent)
        if answer.status_code >= 300:
            raise _kind(path, answer)(_refusal(method, path, answer))
        return answer

    def address(self, path: str) -> str:
        """Return the whole address of a path, or of an address on this Label Studio.

        Raises
        ------
        LabelStudioMissing
            It is no address.
        LabelStudioError
            The address is on another host.
        """
        if self._browser_url and path.startswith(f"{self._browser_url}/"):
            path = self.url + path.removeprefix(self._browser_url)
        try:
            parts = urlsplit(path)
        except ValueError as error:
            raise LabelStudioMissing(f"Nothing lies at {path[:80]!r}: {error}.") from error
        own = urlsplit(self.url)
        if parts.scheme or parts.netloc:
            if (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
                raise LabelStudioError(
                    f"An image lies at {parts.scheme}://{parts.netloc}, but images are fetched "
                    f"from the configured Label Studio ({self.url}) alone. Upload it there, or "
                    "bring it in with `cytoloop import`; where both are one, name that address in "
                    "CYTOLOOP_LABEL_STUDIO_BROWSER_URL."
                )
            return path
        path = "/" + path.lstrip("/")
        for prefix in filter(None, (own.path, self.path_for_browsers)):
            if path.startswith(f"{prefix}/"):
                return self.url + path.removeprefix(prefix)
        return self.url + path

    @property
    def path_for_browsers(self) -> str:
        """The path under which browsers reach it; empty if it has its host to itself."""
        return urlsplit(self._browser_url or self.url).path

    @property
    def _is_personal(self) -> bool:
        return self._token.count(".") == 2

    def _authorisation(self) -> dict[str, str]:
        if not self._is_personal:
            return {"Authorization": f"Token {self._token}"}
        with self._renewing:
            access, until = self._access
            if time.monotonic() > until:
                access = self._renew()
                self._access = (access, time.monotonic() + ACCESS_TOKEN_S)
        return {"Authorization": f"Bearer {access}"}

    def _renew(self) -> str:
        path = "/api/token/refresh/"
        sent = {"json": {"refresh": self._token}}
        answer = self._send("POST", self.url + path, {}, sent)
        if answer.status_code >= 300:
            raise LabelStudioSilent(_refusal("POST", path, answer))
        try:
            return str(answer.json()["access"])
        except (requests.JSONDecodeError, KeyError, TypeError) as error:
            raise self.no_label_studio(path) from error

    def _send(
        self, method: str, address: str, headers: Mapping[str, str], sent: Mapping[str, Any]
    ) -> requests.Response:
        timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        try:
            return self._session.request(
                method,
                address,
                headers={"Accept": "application/json", **headers},
                timeout=timeout,
                allow_redirects=False,
                **sent,
            )
        except requests.ReadTimeout as error:
            raise LabelStudioSilent(
                f"Label Studio at {self.url} did not answer {method} {urlsplit(address).path} "
                f"within {READ_TIMEOUT_S:.0f} s: is it busy, or its machine?"
            ) from error
        except requests.RequestException as error:
            raise LabelStudioSilent(
                f"Label Studio at {self.url} could not be reached ({type(error).__name__}). "
                "Is it running (one of your own is started by `make run` or `cytoloop up`), and is "
                "its address right?"
            ) from error


class _Retry(Retry):
    """Tries again if the connection broke off or a proxy failed, but not after a timeout.

    A busy server would do the same work again beside what is not done yet.
    """

    def increment(self, *args: Any, **kwargs: Any) -> Self:
        if isinstance(error := kwargs.get("error"), ReadTimeoutError):
            raise error
        return super().increment(*args, **kwargs)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _kind(path: str, answer: requests.Response) -> type[LabelStudioError]:
    if answer.status_code in SILENT:
        return LabelStudioSilent
    return LabelStudioMissing if _says_missing(path, answer) else LabelStudioError


def _says_missing(path: str, answer: requests.Response) -> bool:
    """Tell whether Label Studio itself says that something is missing.

    A proxy says the same of everything while Label Studio restarts. The API adds a detail; for a
    missing file there is none.
    """
    return answer.status_code == 404 and ("/api/" not in path or bool(_detail(answer)))


def _refusal(method: str, path: str, answer: requests.Response) -> str:
    path = path.partition("?")[0]
    if 300 <= answer.status_code < 400:
        return (
            f"{method} {path} was redirected, which is not followed: give the address of Label "
            "Studio itself, and keep images in it rather than behind it."
        )
    advice = {
        401: "The token is wrong, was revoked, or is a legacy token where these are switched off: "
        "copy one from Account & Settings in Label Studio.",
        403: "The token's user may not do this; take the token of a user who may.",
        404: _MISSING if _says_missing(path, answer) else _NOT_ITS_OWN,
    }.get(answer.status_code, "")
    return (
        f"Label Studio answered {answer.status_code} to {method} {path}: {_said(answer)} {advice}"
    )


def _said(answer: requests.Response) -> str:
    """Return the server's message, but no HTML page."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return answer.reason or ""
    faults = body.get("validation_errors") if isinstance(body, dict) else None
    return re.sub(r"\s+", " ", str(faults or _detail(answer) or body))[:300]


def _detail(answer: requests.Response) -> Any:
    """Return the detail that Label Studio's API gives of an error; None from something else."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    return body.get("detail") if isinstance(body, dict) else None
