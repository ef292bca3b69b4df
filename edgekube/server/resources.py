"""Requests on resources: decode the body, call the verb, render the answer.

Enters: a Route that names a resource, the request and its user.
Leaves: one response, or a watch stream.
Holds: only verbs that the kind has are called; every failure is a StatusError that server.app writes out.
Next: registry.get … registry.deletecollection; server.watching; server.reviews; server.tunnel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import orjson
import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.api import decode, errors, strict
from edgekube.api.apply_body import configuration
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of
from edgekube.api.protobuf import PROTOBUF_TYPE, decode_protobuf
from edgekube.api.verbs import APPLY_PATCH, DeleteOptions, UserInfo
from edgekube.registry import apply as applying
from edgekube.registry import checks, create, delete, deletecollection, get, identity, list_options, update
from edgekube.registry import list as listing
from edgekube.registry import patch as patching
from edgekube.registry.context import APPLY, IGNORE, UPDATE, Context
from edgekube.registry.faults import too_large_revision
from edgekube.registry.local import create_subresource
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.subresources import scale
from edgekube.server import parameters, rendering
from edgekube.server.discovery import subresource_verbs
from edgekube.server.negotiation import YAML, Form, check_form, check_view, negotiate
from edgekube.server.respond import send
from edgekube.server.routes import Route
from edgekube.wire.protocol import BodyTooLarge, Request, Responder

T = TypeVar("T")

_YAML_THREADS: Final = trio.CapacityLimiter(1)
#: Of a body that was not understood, its sender is shown so much.
_SHOWN_BYTES_MAX: Final = 30
_BODY_TYPES: Final = ("application/json", "application/yaml")
#: strconv.ParseBool.
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
#: Programs that show an answer to a person as it is.
_PEOPLE: Final = ("curl", "Wget", "Mozilla/5.0")
#: Subresources whose get is the object itself.
_WHOLE_OBJECT: Final = ("", "status", "ephemeralcontainers", "resize", "approval")
_ORPHANED_PODS: Final = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)
#: Verbs on one object, and verbs on a collection: a path that fits the other has no such method.
_NAMED: Final = ("update", "patch")
_UNNAMED: Final = ("create",)
#: Bodies that must say which pod they are about, beside the path.
_NAMED_BODIES: Final = ("binding", "eviction")
#: Parameters that admission sees among a write's options.
_WRITE_OPTIONS: Final = ("fieldManager", "fieldValidation")
#: (plural, subresource) -> the definition of a body that is no resource.
_BODY_DEFINITIONS: Final = {
    "binding": ("io.k8s.api.core.v1.Binding", "Binding", "v1"),
    "eviction": ("io.k8s.api.policy.v1.Eviction", "Eviction", "v1"),
    "token": ("io.k8s.api.authentication.v1.TokenRequest", "TokenRequest", "v1"),
    "scale": ("io.k8s.api.autoscaling.v1.Scale", "Scale", "v1"),
}


class Exchange(Struct):
    """One request on a resource, and everything an answer needs."""

    registry: Registry
    request: Request
    responder: Responder
    route: Route
    kind: Kind
    user: UserInfo
    #: Texts for Warning headers, of an error's answer, too.
    warnings: list[str] = field(default_factory=list)
    #: What admission says for the audit log.
    annotations: dict[str, str] = field(default_factory=dict)
    check_create: Callable[[], object] | None = None

    @property
    def form(self) -> Form:
        return negotiate(self.request.headers.get("accept", ""))

    async def body(self) -> bytes:
        try:
            return await self.request.body.read(limits.REQUEST_BODY_BYTES_MAX)
        except BodyTooLarge:
            raise errors.entity_too_large(f"limit is {limits.REQUEST_BODY_BYTES_MAX}") from None

    def context(self, patch_type: str = "") -> Context:
        route = self.route
        options = parameters.write_options(route, self.request.headers.get("user-agent", ""), patch_type)
        return Context(
            self.user,
            options.dry_run,
            options.field_validation,
            self.warnings,
            self.annotations,
            field_manager=options.field_manager,
            operation=APPLY if patch_type == APPLY_PATCH else UPDATE,
            force=options.force,
            check_create=self.check_create,
            options={name: route.parameter(name) for name in _WRITE_OPTIONS if name in route.query},
        )

    def body_type(self) -> str:
        """The media type of the body; StatusError UnsupportedMediaType for one that is not read."""
        media_type = decode.media_type(self.request.headers.get("content-type", ""))
        is_custom = self.kind.custom and self.route.subresource != "scale" and self.request.method != "DELETE"
        accepted = _BODY_TYPES if is_custom else (*_BODY_TYPES, PROTOBUF_TYPE)
        if media_type and media_type not in accepted:
            raise errors.unsupported_media_type(
                f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
            )
        return media_type

    async def decoded(self) -> tuple[Object, Context]:
        """The body's object, and the context of its writing, in which fields given twice are kept."""
        media_type = self.body_type()
        context = self.context()
        body = await self.body()
        try:
            if media_type == PROTOBUF_TYPE:
                obj = decode_protobuf(body)
            elif context.field_validation == IGNORE:
                obj = await _beside(media_type, decode.decode_body, body, media_type)
            else:
                obj, context.duplicates = await _beside(media_type, decode.decode_with_duplicates, body, media_type)
        except errors.StatusError as error:
            if error.reason != "BadRequest":
                raise
            definition = _BODY_DEFINITIONS.get(self.route.subresource)
            kind = definition[1] if definition is not None else self.kind.kind
            raise _unrecognized(kind, error.message, body) from None
        if self.kind.custom and self.route.subresource != "scale":
            self._check_says_its_type(obj, body)
        return obj, context

    def _check_says_its_type(self, obj: Object, body: bytes) -> None:
        """Whose type is in no program has to say it."""
        if not obj.get("kind"):
            why = f"Object 'Kind' is missing in '{body.decode(errors='replace')}'"
            raise _unrecognized(self.kind.kind, why, body)
        if obj.get("apiVersion") != self.kind.api_version:
            raise identity.other_version(self.kind, str(obj.get("apiVersion") or ""))

    async def answer(self, raw: bytes, *, status: int = 200, kind: Kind | None = None) -> None:
        """``raw`` is one object's JSON, of ``kind`` (default: the route's)."""
        form = self.form
        if not form.is_plain:
            check_view(form, (kind or self.kind).kind, of_list=False)
            raw = rendering.object_body(kind or self.kind, raw, form, self.include())
        await self.send(raw, form, status)

    async def answer_status(self, status: Object, *, code: int = 200) -> None:
        """A Status or another small object; no Table is made of it."""
        await self.send(orjson.dumps(status), self.form, code)

    async def send(self, body: bytes, form: Form, status: int = 200) -> None:
        """``body`` is JSON; it is sent as YAML, or with line breaks, where the client asked for it."""
        if form.media_type in (YAML, PROTOBUF_TYPE) and len(body) > limits.YAML_INLINE_BYTES_MAX:
            body = await trio.to_thread.run_sync(rendering.dressed, body, form, limiter=_YAML_THREADS)
        elif form.media_type in (YAML, PROTOBUF_TYPE) or form.pretty or self.pretty:
            body = rendering.dressed(body, form)
        await send(self.request, self.responder, status, body, content_type=form.content_type, warnings=self.warnings)

    @property
    def pretty(self) -> bool:
        """People like line breaks, and so do the tools that they type into."""
        asked = self.route.parameter("pretty") if "pretty" in self.route.query else ""
        if asked:
            return asked in _TRUE
        return self.request.headers.get("user-agent", "").startswith(_PEOPLE)

    def include(self) -> str:
        value = self.route.parameter("includeObject") or rendering.INCLUDE_METADATA
        if value not in (rendering.INCLUDE_METADATA, rendering.INCLUDE_NONE, rendering.INCLUDE_OBJECT):
            why = f'Unsupported value: "{value}": supported values: "Metadata", "None", "Object"'
            raise errors.invalid(
                "meta.k8s.io", "TableOptions", "", [errors.Cause("FieldValueNotSupported", why, "includeObject")]
            )
        return value


def _unrecognized(kind: str, why: str, body: bytes) -> errors.StatusError:
    return errors.bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({_shown(body)})")


def _shown(body: bytes) -> str:
    """The beginning of a body that was not understood."""
    if not body:
        return "<empty>"
    cut = body[:_SHOWN_BYTES_MAX]
    text = cut.decode(errors="replace") if body.startswith(b"{") else cut.hex()
    return text if len(body) == len(cut) else f"{text} ..."


async def _beside(media_type: str, parse: Callable[[bytes, str], T], body: bytes, content_type: str) -> T:
    """Large YAML is read in a thread: it takes more than a second for each MB. One at a time, for it takes memory, too."""
    if media_type != YAML or len(body) <= limits.YAML_INLINE_BYTES_MAX:
        return parse(body, content_type)
    return await trio.to_thread.run_sync(parse, body, content_type, limiter=_YAML_THREADS)


async def serve(exchange: Exchange) -> None:
    """Everything but watches, reviews and tunnels. StatusError for what fails."""
    route, kind = exchange.route, exchange.kind
    check_form(exchange.form, kind, route.subresource)  # an answer that nobody can read is refused before anything is written
    if route.subresource:
        _check_subresource(kind, route)
    elif route.verb not in kind.verbs or route.verb in (_UNNAMED if route.name else _NAMED):
        if kind.custom and route.verb == "create" and not route.name:
            exchange.registry.custom.may_create(kind)
        raise _not_allowed()
    match route.verb:
        case "get":
            await _get(exchange)
        case "list":
            await _list(exchange)
        case "create":
            await _create(exchange)
        case "update":
            await _update(exchange)
        case "patch":
            await _patch(exchange)
        case "delete":
            await _delete(exchange)
        case "deletecollection":
            await _delete_collection(exchange)
        case _:
            raise _not_allowed()


def _not_allowed() -> errors.StatusError:
    return errors.StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")


def _check_subresource(kind: Kind, route: Route) -> None:
    if route.subresource not in kind.subresources:
        raise errors.StatusError("NotFound", "the server could not find the requested resource")
    if route.verb not in subresource_verbs(kind, route.subresource):
        raise _not_allowed()


async def _get(exchange: Exchange) -> None:
    route, kind, registry = exchange.route, exchange.kind, exchange.registry
    if route.subresource == "scale":
        raw = await scale.get_scale(registry, kind, route.namespace, route.name)
        await exchange.answer(raw, kind=scale.SCALE)
        return
    if route.subresource not in _WHOLE_OBJECT:
        raise _not_allowed()
    revision = list_options.parse_revision(route.parameter("resourceVersion"))
    if revision > registry.store.revision():
        raise too_large_revision(revision, registry.store.revision())
    await exchange.answer(await get.get(registry, kind, route.namespace, route.name))


async def _list(exchange: Exchange) -> None:
    route, kind, form = exchange.route, exchange.kind, exchange.form
    check_view(form, kind.list_kind, of_list=True)
    listed = await listing.list_objects(
        exchange.registry,
        kind,
        route.namespace,
        parameters.list_options(route),
        revision_match=route.parameter("resourceVersionMatch"),
    )
    await exchange.send(rendering.list_body(kind, listed, form, exchange.include()), form)


async def _create(exchange: Exchange) -> None:
    route, kind = exchange.route, exchange.kind
    obj, context = await exchange.decoded()
    if route.subresource or kind.plural == "bindings":
        subresource = route.subresource or "binding"
        await _create_below(exchange, subresource, obj, context)
        return
    result = await create.create(exchange.registry, kind, route.namespace, obj, context)
    await exchange.answer(result.raw, status=201)


async def _create_below(exchange: Exchange, subresource: str, obj: Object, context: Context) -> None:
    route = exchange.route
    name, kind = route.name or name_of(obj), exchange.kind
    if not route.subresource:  # POST …/bindings is pods/NAME/binding by its old address
        pods = exchange.registry.kinds.by_resource("", "v1", "pods")
        assert pods is not None
        kind = pods
    definition = _BODY_DEFINITIONS.get(subresource)
    if definition is not None:
        checks.report(kind, strict.check_named(*definition, obj).unknown, context)
    if subresource in _NAMED_BODIES and name_of(obj) != name:
        raise errors.bad_request(f"name in URL does not match name in {subresource.capitalize()} object")
    identity.check_name(name, obj)
    made = await create_subresource(exchange.registry, kind, route.namespace, name, subresource, obj, context)
    await exchange.answer_status(made, code=201)


async def _update(exchange: Exchange) -> None:
    route, kind = exchange.route, exchange.kind
    obj, context = await exchange.decoded()
    if route.subresource == "scale":
        checks.report(scale.SCALE, strict.check_named(*_BODY_DEFINITIONS["scale"], obj).unknown, context)
        result = await scale.update_scale(exchange.registry, kind, route.namespace, route.name, obj, context)
        await exchange.answer(result.raw, kind=scale.SCALE)
        return
    result = await update.update(
        exchange.registry, kind, route.namespace, route.name, obj, context, subresource=route.subresource
    )
    await exchange.answer(result.raw, status=201 if result.created else 200)


async def _patch(exchange: Exchange) -> None:
    route, kind = exchange.route, exchange.kind
    patch_type = decode.media_type(exchange.request.headers.get("content-type", ""))
    patching.check_type(kind, patch_type)
    context = exchange.context(patch_type)
    body = await exchange.body()
    if patch_type == APPLY_PATCH:
        await _apply(exchange, body, context)
        return
    if route.subresource == "scale":
        result = await scale.patch_scale(exchange.registry, kind, route.namespace, route.name, body, patch_type, context)
        await exchange.answer(result.raw, kind=scale.SCALE)
        return
    result = await patching.patch(
        exchange.registry, kind, route.namespace, route.name, body, patch_type, context, subresource=route.subresource
    )
    await exchange.answer(result.raw)


async def _apply(exchange: Exchange, body: bytes, context: Context) -> None:
    route, kind, registry = exchange.route, exchange.kind, exchange.registry
    config, repeated = await _beside(YAML, configuration, body, "")
    if route.subresource == "scale":
        result = await scale.apply_scale(registry, kind, route.namespace, route.name, config, context, repeated)
        await exchange.answer(result.raw, kind=scale.SCALE)
        return
    result = await applying.apply(
        registry, kind, route.namespace, route.name, config, context, subresource=route.subresource, repeated=repeated
    )
    await exchange.answer(result.raw, status=201 if result.created else 200)


def _warn_of_orphans(exchange: Exchange, options: DeleteOptions) -> None:
    """batch/v1 leaves a Job's pods behind unless told otherwise, which few people expect."""
    if exchange.kind.resource == "jobs.batch" and options.propagation_policy is None:
        exchange.warnings.append(_ORPHANED_PODS)


async def _delete_body(exchange: Exchange) -> Object | None:
    body = await exchange.body()
    if not body:
        return None
    media_type = exchange.body_type()
    options = decode_protobuf(body) if media_type == PROTOBUF_TYPE else decode.decode_body(body, media_type)
    given_kind = options.get("kind") or "DeleteOptions"
    if given_kind != "DeleteOptions":
        version = options.get("apiVersion") or "v1"
        raise errors.bad_request(f'no kind "{given_kind}" is registered for version "{version}" in scheme "{identity.SCHEME}"')
    try:
        strict.check_named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "DeleteOptions", "v1", options)
    except errors.StatusError as error:
        raise errors.bad_request(error.message.partition(" cannot be handled as a DeleteOptions: ")[2] or error.message) from None
    return options


async def _delete(exchange: Exchange) -> None:
    route, kind = exchange.route, exchange.kind
    options = parameters.delete_options(route, await _delete_body(exchange))
    _warn_of_orphans(exchange, options)
    context = Context(exchange.user, options.dry_run, warnings=exchange.warnings, annotations=exchange.annotations)
    done = await delete.delete(exchange.registry, kind, route.namespace, route.name, context, options)
    if not done.gone or strategy_of(kind).returns_deleted:
        await exchange.answer(done.last.raw)
        return
    details: Object = {"name": route.name, "kind": kind.plural}
    if kind.group:
        details["group"] = kind.group
    details["uid"] = done.last.object["metadata"].get("uid", "")
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    await exchange.answer_status(status)


async def _delete_collection(exchange: Exchange) -> None:
    route, kind, form = exchange.route, exchange.kind, exchange.form
    options = parameters.delete_options(route, await _delete_body(exchange))
    _warn_of_orphans(exchange, options)
    context = Context(exchange.user, options.dry_run, warnings=exchange.warnings, annotations=exchange.annotations)
    selection = parameters.list_options(route)
    deleted = await deletecollection.delete_collection(exchange.registry, kind, route.namespace, context, selection, options)
    await exchange.send(rendering.list_body(kind, deleted, form, exchange.include()), form)
