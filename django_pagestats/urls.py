"""For a site's URLconf: `path("ps/", include("django_pagestats.urls"))`. No path has a word that blockers look for."""

from django.urls import path

from django_pagestats import views

app_name = "django_pagestats"

urlpatterns = [
    path("note", views.collect, name="collect"),  # beside the script, which looks for it there
    path("note.gif", views.pixel, name="pixel"),
    path("choice", views.opt_out, name="opt_out"),
    path("<slug:digest>.js", views.script, name="script"),
]
