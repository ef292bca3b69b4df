"""What may be asked of a kind, as OpenAPI paths.

Enters: a row of the table of kinds; how its subresources look.
Leaves: (path, item) pairs of a version 3 document.
Holds: every verb and subresource that is served has an operation, with the action, the group version kind, the parameters and the
types of bodies that are taken; an operation's id is its own.
Source: kubernetes.io, "API concepts"; the action names are k8s.io/apiserver's.
Next: api.openapi.document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from edgekube.api import schemas
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.openapi import custom
from edgekube.api.openapi.naming import tag, word
from edgekube.api.openapi.types import PATCH, STATUS, reference
from edgekube.api.protobuf_answers import has_form
from edgekube.api.returned import RETURNS_DELETED

#: (verbs, (group, version, kind) of the body) of a subresource.
Below = tuple[tuple[str, ...], tuple[str, str, str]]

_JSON: Final = "application/json"
_YAML: Final = "application/yaml"
_PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_ANY: Final = "*/*"
_PATCH_TYPES: Final = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_WATCH_EVENT: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"
_DELETE_OPTIONS: Final = schemas.DELETE_OPTIONS
_CONNECT_METHODS: Final = {
    "create": ("post",),
    "delete": ("delete",),
    "get": ("get", "head", "options"),
    "patch": ("patch",),
    "update": ("put",),
}


def _query(name: str, text: str, type_: str = "string") -> Object:
    return {"name": name, "in": "query", "description": text, "schema": {"type": type_, "uniqueItems": True}}


def _place(name: str, text: str) -> Object:
    return {"name": name, "in": "path", "description": text, "required": True, "schema": {"type": "string", "uniqueItems": True}}


_PRETTY: Final = _query("pretty", "true: with line breaks.")
_WRITING: Final = (
    _query("dryRun", "All: go through every stage, store nothing."),
    _query("fieldManager", "Who makes the change; at most 128 printable characters."),
    _query("fieldValidation", "Ignore, Warn or Strict: what unknown and repeated fields do."),
)
_FORCE: Final = _query("force", "Server-side apply: take over fields that others own.", "boolean")
_DELETING: Final = (
    _query("dryRun", "All: go through every stage, store nothing."),
    _query("gracePeriodSeconds", "Seconds until the object is deleted; 0: at once.", "integer"),
    _query("ignoreStoreReadErrorWithClusterBreakingPotential", "Not taken here: what cannot be read stays.", "boolean"),
    _query("orphanDependents", "Deprecated: use propagationPolicy.", "boolean"),
    _query("propagationPolicy", "Orphan, Background or Foreground: what becomes of dependents."),
)
_LISTING: Final = (
    _query("allowWatchBookmarks", "Watch: send bookmarks.", "boolean"),
    _query("continue", "Where the last page of a list ended."),
    _query("fieldSelector", "Only objects whose fields are like this."),
    _query("labelSelector", "Only objects whose labels are like this."),
    _query("limit", "At most so many objects; the rest by continue.", "integer"),
    _query("resourceVersion", "Which state is asked for."),
    _query("resourceVersionMatch", "Exact or NotOlderThan: how resourceVersion is meant."),
    _query("sendInitialEvents", "Watch: begin with what there is.", "boolean"),
    _query("shardSelector", "Not taken here: lists are whole."),
    _query("timeoutSeconds", "How long a list or watch may take.", "integer"),
    _query("watch", "Changes instead of a list.", "boolean"),
)
_CONTAINER: Final = (
    _query("container", "Which container; may be left out where there is one."),
    _query("stderr", "Redirect standard error.", "boolean"),
    _query("stdin", "Redirect standard input.", "boolean"),
    _query("stdout", "Redirect standard output.", "boolean"),
    _query("tty", "Allocate a terminal.", "boolean"),
)
_OF_SUBRESOURCE: Final[dict[tuple[str, str], tuple[Object, ...]]] = {
    ("pods", "attach"): _CONTAINER,
    ("pods", "exec"): (_query("command", "What to run; repeated, one for each argument."), *_CONTAINER),
    ("pods", "portforward"): (_query("ports", "Which ports; needed by WebSockets.", "integer"),),
    ("pods", "log"): (
        _query("container", "Which container; may be left out where there is one."),
        _query("follow", "Go on with what is written.", "boolean"),
        _query("insecureSkipTLSVerifyBackend", "Not taken here: nodes are always known.", "boolean"),
        _query("limitBytes", "At most so many bytes.", "integer"),
        _PRETTY,
        _query("previous", "The container that was before this one.", "boolean"),
        _query("sinceSeconds", "Only the last so many seconds.", "integer"),
        _query("stream", "All, Stdout or Stderr."),
        _query("tailLines", "Only the last so many lines.", "integer"),
        _query("timestamps", "Each line with its time.", "boolean"),
    ),
}
_PROXY_PATH: Final = _query("path", "The path behind the proxy.")


def type_of(api_version: str, kind: str) -> str | None:
    """The definition of a built-in kind."""
    return schemas.name_of(api_version, kind)


class Operations:
    """The paths of one kind."""

    def __init__(self, kind: Kind, below: Callable[[Kind, str], Below]) -> None:
        self._kind = kind
        self._below = below
        if kind.custom:
            self.type: str | None = custom.type_name(kind, kind.kind)
            self.list_type: str | None = custom.type_name(kind, kind.list_kind)
        else:
            self.type = type_of(kind.api_version, kind.kind)
            self.list_type = type_of(kind.api_version, kind.list_kind)

    def paths(self) -> Iterator[tuple[str, Object]]:
        kind = self._kind
        collection = kind.path("{namespace}" if kind.namespaced else "")
        yield collection, self._item({"list": "get", "create": "post", "deletecollection": "delete"}, named=False)
        if kind.namespaced and "list" in kind.verbs:
            yield kind.path(), self._item({"list": "get"}, named=False, everywhere=True)
        if not kind.stored:
            return
        one = f"{collection}/{{name}}"
        yield one, self._item({"get": "get", "update": "put", "patch": "patch", "delete": "delete"}, named=True)
        for subresource in kind.subresources:
            yield from self._subresource(f"{one}/{subresource}", subresource)
        if "watch" in kind.verbs and not kind.custom:
            yield from self._watches()

    def _watches(self) -> Iterator[tuple[str, Object]]:
        """The old paths of watches."""
        kind = self._kind
        version, _, below = kind.path("{namespace}" if kind.namespaced else "").partition(f"/{kind.version}/")
        root = f"{version}/{kind.version}/watch"
        if kind.namespaced:
            yield f"{root}/{kind.plural}", self._watch("List", everywhere=True)
        yield f"{root}/{below}", self._watch("List")
        yield f"{root}/{below}/{{name}}", self._watch("")

    def _watch(self, suffix: str, *, everywhere: bool = False) -> Object:
        kind = self._kind
        title = f"watch{self._word()}{'' if everywhere else self._scope()}{kind.kind}{suffix}"
        title += "ForAllNamespaces" if everywhere else ""
        text = f"watch changes to {'lists' if suffix else 'an object'} of kind {kind.kind}; deprecated: watch a list instead"
        name = (kind.group, kind.version, kind.kind)
        action = "watchlist" if suffix else "watch"
        made = self._made(title, text, action, name, answer=_WATCH_EVENT, types=self._types(streams=True))
        return {"get": made, "parameters": [*self._places(named=not suffix, everywhere=everywhere), _PRETTY, *_LISTING]}

    def _places(self, *, named: bool, everywhere: bool = False) -> list[Object]:
        places = [_place("name", f"name of the {self._kind.kind}")] if named else []
        if self._kind.namespaced and not everywhere:
            places.append(_place("namespace", "the namespace that the object is in"))
        return places

    def _types(self, *, streams: bool = False) -> tuple[str, ...]:
        """The forms in which the kind is sent."""
        forms = (_JSON,) if self._kind.custom or not has_form(self._kind.api_version, self._kind.kind) else (_JSON, _PROTOBUF)
        return (*forms, _YAML, *(f"{form};stream=watch" for form in forms if streams))

    # --- the resource itself

    def _item(self, verbs: dict[str, str], *, named: bool, everywhere: bool = False) -> Object:
        kind = self._kind
        item: Object = {}
        for verb, method in verbs.items():
            if verb in kind.verbs:
                item[method] = self._operation(verb, everywhere=everywhere)
        item["parameters"] = [*self._places(named=named, everywhere=everywhere), _PRETTY]
        return item

    def _operation(self, verb: str, *, everywhere: bool = False) -> Object:
        name = (self._kind.group, self._kind.version, self._kind.kind)
        match verb:
            case "list":
                title = f"list{self._word()}{'' if everywhere else self._scope()}{self._kind.kind}"
                title += "ForAllNamespaces" if everywhere else ""
                streams = "watch" in self._kind.verbs or not self._kind.custom
                return self._made(title, f"list or watch objects of kind {self._kind.kind}", "list", name,
                                  parameters=_LISTING, answer=self.list_type, types=self._types(streams=streams))  # fmt: skip
            case "deletecollection":
                title = f"delete{self._word()}Collection{self._scope()}{self._kind.kind}"
                selecting = tuple(each for each in _LISTING if each["name"] not in ("allowWatchBookmarks", "watch", "dryRun"))
                return self._made(title, f"delete collection of {self._kind.kind}", verb, name,
                                  parameters=(*selecting, *_DELETING), body=_DELETE_OPTIONS, answer=STATUS,
                                  optional=True)  # fmt: skip
            case "delete":
                gone = self.type if self._kind.resource in RETURNS_DELETED else STATUS
                return self._made(self._title("delete"), f"delete a {self._kind.kind}", verb, name, parameters=_DELETING,
                                  body=_DELETE_OPTIONS, answer=gone, codes=("200", "202"), optional=True)  # fmt: skip
        return self._change(verb, name, self.type, "")

    def _change(self, verb: str, name: tuple[str, str, str], type_: str | None, suffix: str) -> Object:
        """get, create, update and patch, of the resource or below it."""
        what = f"{suffix} of the {self._kind.kind}".lower() if suffix else f"the {self._kind.kind}"
        match verb:
            case "get":
                return self._made(self._title("read") + suffix, f"read {what}", "get", name, answer=type_)
            case "create":
                return self._made(self._title("create") + suffix, f"create {what}", "post", name, parameters=_WRITING,
                                  body=type_, answer=type_, codes=("200", "201", "202"))  # fmt: skip
            case "update":
                return self._made(self._title("replace") + suffix, f"replace {what}", "put", name, parameters=_WRITING,
                                  body=type_, answer=type_, codes=("200", "201"))  # fmt: skip
        patches = _PATCH_TYPES if self._kind.custom else (*_PATCH_TYPES, _STRATEGIC)
        return self._made(self._title("patch") + suffix, f"partially update {what}", "patch", name,
                          parameters=(*_WRITING, _FORCE), body=PATCH, answer=type_, codes=("200", "201"),
                          taken=patches)  # fmt: skip

    # --- what is below it

    def _subresource(self, path: str, subresource: str) -> Iterator[tuple[str, Object]]:
        verbs, name = self._below(self._kind, subresource)
        suffix = subresource[:1].upper() + subresource[1:]
        parameters = _OF_SUBRESOURCE.get((self._kind.plural, subresource), ())
        places = self._places(named=True)
        item: Object = {"parameters": [*places, *parameters]}
        if name[2].endswith("Options"):
            if subresource == "proxy":
                item["parameters"].append(_PROXY_PATH)
            yield path, {**item, **self._connects(verbs, name, suffix)}
            if subresource == "proxy":
                behind = _place("path", "the path behind the proxy")
                below = self._connects(verbs, name, f"{suffix}WithPath")
                yield f"{path}/{{path}}", {"parameters": [*places, behind, _PROXY_PATH], **below}
            return
        if subresource == "log":
            item["get"] = self._made(self._title("read") + suffix, "read the log of a container", "get", name,
                                     answer="", types=("text/plain", *self._types()))  # fmt: skip
            yield path, item
            return
        item["parameters"].append(_PRETTY)
        group, version, kind_name = name
        if self._kind.custom and (group, version, kind_name) == (self._kind.group, self._kind.version, self._kind.kind):
            type_ = self.type
        else:
            type_ = type_of(f"{group}/{version}" if group else version, kind_name)
        methods = {"get": "get", "create": "post", "update": "put", "patch": "patch"}
        for verb, method in methods.items():
            if verb in verbs:
                item[method] = self._change(verb, name, type_, suffix)
        yield path, item

    def _connects(self, verbs: tuple[str, ...], name: tuple[str, str, str], suffix: str) -> Object:
        found: Object = {}
        for verb in verbs:
            for method in _CONNECT_METHODS[verb]:
                if method in ("head", "options") and not suffix.startswith("Proxy"):
                    continue
                title = f"connect{self._word()}{method.capitalize()}{self._scope()}{self._kind.kind}{suffix}"
                text = f"connect {method.upper()} requests to {suffix.lower()} of {self._kind.kind}"
                found[method] = self._made(title, text, "connect", name, answer="", types=(_ANY,))
        return found

    # --- an operation

    def _word(self) -> str:
        return word(self._kind.group, self._kind.version)

    def _scope(self) -> str:
        return "Namespaced" if self._kind.namespaced else ""

    def _title(self, verb: str) -> str:
        return f"{verb}{self._word()}{self._scope()}{self._kind.kind}"

    def _made(
        self,
        title: str,
        text: str,
        action: str,
        name: tuple[str, str, str],
        *,
        parameters: tuple[Object, ...] = (),
        body: str | None = None,
        answer: str | None = None,
        codes: tuple[str, ...] = ("200",),
        types: tuple[str, ...] = (),
        taken: tuple[str, ...] = (),
        optional: bool = False,
    ) -> Object:
        """``answer``: "" for text, None for an object without a type. ``types``: of answers, the kind's own by default;
        ``taken``: of bodies, any by default."""
        types = types or self._types()
        taken = taken or ((_JSON, _YAML) if self._kind.custom else (_ANY,))
        shown: Object = {"type": "string"} if answer == "" else reference(answer) if answer else {"type": "object"}
        answers: Object = {
            code: {"description": _CODES[code], "content": {type_: {"schema": shown} for type_ in types}} for code in codes
        }
        answers["401"] = {"description": "Unauthorized"}
        operation: Object = {
            "description": text,
            "operationId": title,
            "responses": answers,
            "tags": [tag(self._kind.group, self._kind.version)],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": name[0], "version": name[1], "kind": name[2]},
        }
        if parameters:
            operation["parameters"] = list(parameters)
        if body is not None:
            operation["requestBody"] = {"content": {type_: {"schema": reference(body)} for type_ in taken}}
            if not optional:
                operation["requestBody"]["required"] = True
        return operation


_CODES: Final = {"200": "OK", "201": "Created", "202": "Accepted"}
