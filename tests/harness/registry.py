"""Small pieces of a registry client that says exactly what it is told to say."""
import hashlib
import json

import requests

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(data, alg="sha256"):
    return f"{alg}:" + hashlib.new(alg, data).hexdigest()


class Registry:
    """Requests below one base URL, e.g. http://127.0.0.1:8082/v2/."""

    def __init__(self, url, image="test/image", session=None):
        self.url = url.rstrip("/")
        self.image = image
        self.http = session or requests.Session()

    def at(self, image):
        return Registry(self.url, image, self.http)

    def request(self, method, path, **kw):
        kw.setdefault("timeout", 60)
        kw.setdefault("allow_redirects", False)
        url = path if path.startswith("http") else self.url + path
        return self.http.request(method, url, **kw)

    def image_path(self, rest):
        return f"/v2/{self.image}/{rest}"

    def get(self, rest, **kw):
        return self.request("GET", self.image_path(rest), **kw)

    def head(self, rest, **kw):
        return self.request("HEAD", self.image_path(rest), **kw)

    def put(self, rest, **kw):
        return self.request("PUT", self.image_path(rest), **kw)

    def post(self, rest, **kw):
        return self.request("POST", self.image_path(rest), **kw)

    def delete(self, rest, **kw):
        return self.request("DELETE", self.image_path(rest), **kw)

    def begin(self, query="", **kw):
        """A new upload session's URL."""
        r = self.post("blobs/uploads/" + query, **kw)
        assert r.status_code == 202, r.text
        return self.absolute(r)

    def absolute(self, response):
        location = response.headers["Location"]
        assert location.startswith("/"), f"Location is not origin-relative: {location}"
        root = self.url.split("/", 3)
        return "/".join(root[:3]) + location

    def finish(self, url, d, data=b"", **kw):
        return self.request("PUT", url + ("&" if "?" in url else "?") + "digest=" + d, data=data, **kw)

    def push_blob(self, data, alg="sha256"):
        d = digest(data, alg)
        r = self.finish(self.begin(), d, data)
        assert r.status_code == 201, r.text
        return d

    def descriptor(self, data, media_type=OCI_LAYER, alg="sha256", push=True):
        d = self.push_blob(data, alg) if push else digest(data, alg)
        return {"mediaType": media_type, "digest": d, "size": len(data)}

    def image_manifest(self, config=b"{}", layers=(b"layer",), push=True, **more):
        body = {"schemaVersion": 2, "mediaType": OCI_IMAGE,
                "config": self.descriptor(config, OCI_CONFIG, push=push),
                "layers": [self.descriptor(x, push=push) for x in layers]}
        body.update(more)
        return json.dumps(body).encode()

    def put_manifest(self, data, ref=None, media_type=OCI_IMAGE, query="", **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if media_type is not None:
            headers["Content-Type"] = media_type
        return self.put(f"manifests/{ref or digest(data)}{query}", data=data, headers=headers)

    def push_image(self, tag, **kw):
        data = self.image_manifest(**kw)
        r = self.put_manifest(data, tag)
        assert r.status_code == 201, r.text
        return data


def error(response):
    """The one error's code; checks the shape of the body."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    errors = response.json()["errors"]
    assert errors and all(e["code"] and e["message"] for e in errors)
    return errors[0]["code"]
