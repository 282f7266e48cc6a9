"""What went wrong with a remote place: kinds of errors, and messages without credentials in them.

The libraries raise some dozens of types, and put signed addresses into their texts. Here each
becomes one of four, none of them chained, so that a traceback shows no more than the message.
"""

from __future__ import annotations

from meddel_fast.common.urls import SCHEMES, scheme_of, scrubbed, shown


class RemoteError(OSError):
    """A remote place cannot be read or written."""


class RemoteMissingError(RemoteError, FileNotFoundError):
    """There is no such object."""


class RemoteDeniedError(RemoteError, PermissionError):
    """The store wants credentials, or other ones."""


class RemoteChangedError(ValueError):
    """An object is no longer the one that was looked at before."""


class Passing(Exception):  # noqa: N818 - never seen outside
    """What a client of ours raises where trying again may help: a body cut short, say."""


CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (FSSPEC_S3_ANON=true for a "
    "public bucket)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (FSSPEC_GS_TOKEN=anon for a public bucket)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or "
    "AZURE_STORAGE_CONNECTION_STRING",
    "hf": "HF_TOKEN",
}
"""Where each kind of store takes its credentials from."""

_AGAIN = {408, 425, 429, 500, 502, 503, 504, 509}
_AGAIN_CODES = {
    "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling",
    "ThrottlingException", "RequestTimeTooSkewed", "IncompleteBody", "BadDigest",
    "OperationAborted", "TooManyRequests", "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
}  # fmt: skip
_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError",
    "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError",
    "DefaultCredentialsError", "ClientAuthenticationError",
}  # fmt: skip
_FOR_GOOD = {
    "SSLCertVerificationError", "ClientConnectorCertificateError", "InvalidURL",
    "InvalidUrlClientError", "NonHttpUrlClientError", "OfflineModeIsEnabled",
    "ParamValidationError",
}  # fmt: skip
_PASSING = {
    "ClientError", "ClientOSError", "ServerDisconnectedError", "ClientPayloadError",
    "ClientConnectorError", "ClientConnectorDNSError", "ServerTimeoutError", "FSTimeoutError",
    "HTTPClientError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError",
    "ConnectionClosedError", "IncompleteReadError", "IncompleteRead", "ResponseStreamingError",
    "ResponseParserError", "ProxyConnectionError", "SSLError", "ConnectError", "ReadError",
    "ReadTimeout", "ConnectTimeout", "RemoteProtocolError", "WriteError", "ServiceRequestError",
    "ServiceResponseError", "TransportError", "ChunkedEncodingError", "Passing", "TimeoutError",
}  # fmt: skip
"""By name: the libraries that define them need not be there."""


def status_of(error: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status that an error tells, or None, and the store's own code for it."""
    for one in _with_causes(error):
        if type(one).__module__ == "aiohttp.http_exceptions":
            continue  # their codes say what kind of error a cut answer would be, not what came
        response = getattr(one, "response", None)
        if isinstance(response, dict):  # botocore
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return (int(code) if status is None and code.isdigit() else status), code
        for told in (one, response):
            for name in ("status", "status_code", "code"):
                value = getattr(told, name, None)
                if isinstance(value, int) and 100 <= value < 600:
                    return value, ""
    return None, ""


def can_pass(error: BaseException) -> bool:
    """Tell whether the same request may be answered when it is made again."""
    if isinstance(error, (RemoteError, RemoteChangedError)):  # tried again already
        return False
    status, code = status_of(error)
    names = {type(one).__name__ for one in _with_causes(error)}
    if names & (_FOR_GOOD | _NO_CREDENTIALS):
        return False
    if status is not None or code:
        return code in _AGAIN_CODES or status in _AGAIN
    ancestors = {kind.__name__ for one in _with_causes(error) for kind in type(one).__mro__}
    return bool(ancestors & _PASSING) or isinstance(error, (ConnectionError, TimeoutError))


def told(error: BaseException) -> str:
    """Say in a few words what an error is about, without credentials and queries."""
    status, code = status_of(error)
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = " ".join(scrubbed(text).split())
    parts = dict.fromkeys(str(part) for part in (status, code) if part)
    first = " ".join(part for part in parts if part not in text)
    text = f"{first}: {text}" if first and text else first or text
    return (text or type(error).__name__)[:300]


def explained(place: str, doing: str, error: BaseException) -> Exception:
    """Return the error to raise in the place of one that no trying again mends.

    Parameters
    ----------
    place
        The URL.
    doing
        ``"read"``, ``"written"``, ``"listed"`` or ``"removed"``.
    error
        What the library raised.
    """
    if isinstance(error, (RemoteError, RemoteChangedError, ImportError)):
        return error
    status, code = status_of(error)
    names = {type(one).__name__ for one in _with_causes(error)}
    name, scheme = shown(place), scheme_of(place)
    wanted = CREDENTIALS.get(scheme, "its credentials")
    if names & _NO_CREDENTIALS:
        return RemoteDeniedError(
            f"{name} cannot be {doing}: no credentials were found in the environment; set {wanted}"
        )
    if status in (401, 403) or isinstance(error, PermissionError):
        hint = f"; check what the environment gives: {wanted}" if scheme in CREDENTIALS else ""
        return RemoteDeniedError(f"{name} may not be {doing}: {told(error)}{hint}")
    if status in (404, 410) or isinstance(error, FileNotFoundError):
        bucket = " (no such bucket)" if code == "NoSuchBucket" or "bucket" in str(error) else ""
        return RemoteMissingError(f"no file {name}{bucket}")
    if status in (412, 416):
        return RemoteChangedError(f"{name} has changed since it was opened")
    return RemoteError(f"{name} cannot be {doing}: {told(error)}")


def missing_library(place: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error of a URL whose library is not installed, with what to install."""
    scheme = scheme_of(place)
    library = SCHEMES[scheme]
    ours = scheme in ("s3", "http", "https", "memory")
    install = "'meddel-fast[remote]'" if ours else f"fsspec {library}"
    return ModuleNotFoundError(
        f"{scheme}:// needs {error.name}: pip install {install}", name=error.name
    )


def _with_causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found and len(found) < 8:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found
