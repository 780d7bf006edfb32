import os
import re
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

EMAIL = re.compile(r"[\w.%+'-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}", re.ASCII | re.IGNORECASE)


@asynccontextmanager
async def lifespan(app):
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(
        base_url=os.environ["UPSTREAM"],
        headers={"Authorization": "Bearer wp_pk_bench:wp_sk_bench"},
        limits=limits,
        trust_env=False,
    ) as client:
        app.state.upstream = client
        yield


app = FastAPI(lifespan=lifespan)


async def read_form(request):
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            form = await request.json()
        except ValueError:
            raise HTTPException(400)
        if not isinstance(form, dict):
            raise HTTPException(400)
        return form
    return await request.form()


def to_lead(form):
    def first(*keys):
        for key in keys:
            value = form.get(key)
            if value and isinstance(value, str):
                return value
        return ""

    return {
        "name": first("Name", "your-name") or f"{first('1.3')} {first('1.6')}".strip(),
        "email": first("Email", "your-email", "2"),
        "phone": first("Phone", "your-tel", "3"),
        "message": first("Message", "your-message", "4"),
    }


@app.post("/hooks/acme/contact")
async def contact(request: Request):
    lead = to_lead(await read_form(request))
    if not EMAIL.fullmatch(lead["email"]):
        return JSONResponse({"success": False, "error": "email"}, 422)
    try:
        answer = await request.app.state.upstream.post("/api/v1/wordpress/intake", json=lead)
        taken = answer.is_success
    except httpx.HTTPError:
        taken = False
    return JSONResponse({"success": taken}, 200 if taken else 502)
