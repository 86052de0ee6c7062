"""What S3's errors mean: which pass by themselves, which need new credentials, and what to do about the others."""

from typing import Final

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)

PASSING_CODES: Final = frozenset(
    {"SlowDown", "Throttling", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "TooManyRequests"}
)
STALE_CODES: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
PASSING_ERRORS: Final = (HTTPClientError, IncompleteReadError, ResponseStreamingError)
STALE_ERRORS: Final = (CredentialRetrievalError,)

REASONS: Final = {
    "NoSuchBucket": "there is no such bucket; create it first, or correct its name",
    "AccessDenied": "access is denied; what is needed is in clusters/aws/iam-policy.json",
    "403": "access is denied; what is needed is in clusters/aws/iam-policy.json",
    "InvalidAccessKeyId": "the access key is not known there; look at AWS_PROFILE and AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; look at AWS_PROFILE",
    "ExpiredToken": "the session token has expired; log in again",
    "PermanentRedirect": "the bucket is in another region{region}; set it with ?region=",
    "AuthorizationHeaderMalformed": "the bucket is in another region{region}; set it with ?region=",
    "IllegalLocationConstraintException": "the bucket is in another region{region}; set it with ?region=",
    "301": "the bucket is in another region{region}; set it with ?region=",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
}
NO_CREDENTIALS: Final = "no credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give the machine a role"


def is_denied(err: Exception) -> bool:
    """Whether access is denied."""
    return code_of(err) in {"AccessDenied", "403"}


def code_of(err: Exception) -> str:
    """S3's own code of an error; empty for errors of the connection."""
    return str(err.response.get("Error", {}).get("Code", "")) if isinstance(err, ClientError) else ""


def is_stale(err: Exception) -> bool:
    """Whether credentials have expired, so that new ones may help."""
    return code_of(err) in STALE_CODES or isinstance(err, STALE_ERRORS)


def is_passing(err: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(err, ClientError):
        status: int = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or code_of(err) in PASSING_CODES
    return isinstance(err, PASSING_ERRORS) and not isinstance(err, SSLError)


def explain(err: Exception) -> str:
    """Why a request failed, and the way out where there is a known one."""
    if isinstance(err, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return NO_CREDENTIALS
    if not isinstance(err, ClientError):
        return " ".join(str(err).split())
    answer = err.response.get("Error", {})
    headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Region") or headers.get("x-amz-bucket-region")
    said = f"{code_of(err)} on {err.operation_name}: {answer.get('Message', 'no reason given')}"
    known = REASONS.get(code_of(err))
    return said if known is None else f"{known.format(region=f' ({region})' if region else '')} ({said})"
