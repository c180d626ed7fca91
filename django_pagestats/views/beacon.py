"""What the beacon asks for; docs/beacon.md."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required  # which needs no such app
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from django_pagestats.beacon import endpoint, origins
from django_pagestats.beacon import script as beacon_script
from django_pagestats.decorators import not_counted
from django_pagestats.recording import opting_out

YEAR_SECONDS = 365 * 86_400
#: a page in somebody's cache names the script of the release before
OTHER_SCRIPT_SECONDS = 3_600
#: transparent, of one point
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00"
    b"\x01\x00\x00\x02\x02D\x01\x00;"
)


@login_not_required
@not_counted
@require_safe
def script(request: HttpRequest, digest: str) -> HttpResponse:
    """The script of now, by whatever name; only by its own it may be kept for ever."""
    response = HttpResponse(beacon_script.body(), content_type="text/javascript; charset=utf-8")
    if digest == beacon_script.digest():
        patch_cache_control(response, public=True, max_age=YEAR_SECONDS, immutable=True)
    else:
        patch_cache_control(response, public=True, max_age=OTHER_SCRIPT_SECONDS)
    return response


# No token against forgery: what a page view needs is the visitor's own page, which is looked at, and no cookie grants
# anything here. And no transaction of the request's: it would cost each page view two more statements.
@never_cache
@csrf_exempt
@login_not_required
@not_counted
@require_POST
@transaction.non_atomic_requests
def collect(request: HttpRequest) -> HttpResponse:
    answer = endpoint.take_post(request)
    return HttpResponse(answer.text, status=answer.status, content_type="text/plain; charset=utf-8")


@never_cache
@login_not_required
@not_counted
@require_GET
@transaction.non_atomic_requests
def pixel(request: HttpRequest) -> HttpResponse:
    answer = endpoint.take_pixel(request)
    if answer == endpoint.TAKEN:
        return HttpResponse(GIF, content_type="image/gif")
    return HttpResponse(answer.text, status=answer.status, content_type="text/plain; charset=utf-8")


@never_cache
@csrf_exempt  # a page in a cache would hand one visitor's token to all; another site's form is refused by its origin
@login_not_required
@not_counted
@require_http_methods(["GET", "HEAD", "POST"])
def opt_out(request: HttpRequest) -> HttpResponse:
    """Whether this browser is counted, and the button that changes it; the cookie is set by a post only."""
    if request.method != "POST":
        state = {"is_opted_out": opting_out.is_opted_out(request), "back": _page_before(request)}
        return render(request, "django_pagestats/opt_out.html", state)
    if not origins.is_from_this_site(request):
        return HttpResponseForbidden("This button is for pages of the site itself.", content_type="text/plain")
    response = HttpResponseRedirect(request.path)
    response.status_code = 303
    if request.POST.get("counted") == "yes":
        opting_out.opt_in(response)
    else:
        opting_out.opt_out(request, response)
    return response


def _page_before(request: HttpRequest) -> str:
    """Where the visitor came from, if that is a page of the site; else empty."""
    referrer = request.META.get("HTTP_REFERER", "")
    hosts = {request.get_host()}
    is_safe = url_has_allowed_host_and_scheme(referrer, hosts, require_https=request.is_secure())
    return referrer if is_safe and referrer != request.build_absolute_uri() else ""
