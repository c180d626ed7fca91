"""What Apache and nginx call the values of their logs, and what those look like."""

from __future__ import annotations

#: what each of Apache's letters is; those that are not here are passed over
APACHE_NAMES = {
    "h": "address",
    "a": "address",
    "r": "request",
    "m": "method",
    "U": "path",
    "q": "query",
    "s": "status",
    "v": "host",
    "V": "host",
    "t": "time",
}
APACHE_PASSED_OVER = frozenset("ABbCDefHIkLlnOopPRSTuXi") | {"^ti", "^to", "^FU", "^FB"}
NGINX_NAMES = {
    "remote_addr": "address",
    "binary_remote_addr": "address",
    "realip_remote_addr": "realip_remote_addr",
    "proxy_protocol_addr": "address",
    "http_x_forwarded_for": "http_x_forwarded_for",
    "proxy_add_x_forwarded_for": "proxy_add_x_forwarded_for",
    "request": "request",
    "request_method": "method",
    "request_uri": "target",
    "uri": "path",
    "document_uri": "path",
    "args": "query",
    "query_string": "query",
    "status": "status",
    "host": "host",
    "http_host": "host",
    "server_name": "server_name",
    "time_local": "time",
    "time_iso8601": "time",
    "msec": "time",
    "http_user_agent": "agent",
    "http_referer": "referrer",
    "sent_http_content_type": "content_type",
}
APACHE_HEADERS = {"user-agent": "agent", "referer": "referrer", "host": "host"}

#: values that have the character in them that others end with
_TIME = r"[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} [+-][0-9]{4}"
PATTERNS = {
    "%t": r"\[" + _TIME + r"\]",
    "time_local": _TIME,
    "time_iso8601": r"[0-9T:+-]{20,25}Z?",
    "msec": r"[0-9]{1,12}\.[0-9]{3}",
    "status": r"[0-9]{3}",
    "http_x_forwarded_for": r"[^\s,\"]*(?:, ?[^\s,\"]+)*",
    "proxy_add_x_forwarded_for": r"[^\s,\"]*(?:, ?[^\s,\"]+)*",
    "X-Forwarded-For": r"[^\s,\"]*(?:, ?[^\s,\"]+)*",
}
#: of Apache's times by strftime: the format and what its values look like
STRFTIME = {
    "%d/%b/%Y:%T": r"[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8}",
    "%d/%b/%Y:%H:%M:%S": r"[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8}",
    "%d/%b/%Y:%T %z": _TIME,
    "%d/%b/%Y:%H:%M:%S %z": _TIME,
    "%Y-%m-%dT%T": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}",
    "%Y-%m-%dT%H:%M:%S": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}",
    "%Y-%m-%d %T": r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}",
    "%Y-%m-%d %H:%M:%S": r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}",
    "%Y-%m-%dT%T%z": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4}",
    "%Y-%m-%dT%H:%M:%S%z": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4}",
    "%Y-%m-%d %H:%M:%S %z": r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} [+-][0-9]{4}",
    "msec_frac": r"[0-9]{3}",
    "usec_frac": r"[0-9]{6}",
    "%z": r"[+-][0-9]{4}",
}
