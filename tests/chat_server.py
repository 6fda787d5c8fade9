"""An OpenAI-compatible server in a process of its own; the name of the model that is asked decides how it behaves.

Run as a script it prints its port. `GET /log` returns the requests so far: {at, key, body}.
"""

import hashlib
import http.server
import json
import sys
import time

LOG = []
TIMES_SEEN = {}
KEYWORDS = ["waving", "standing", "happy", "None"]


def good(body):
    """Keywords that tell picture and turn, or that there is nothing."""
    turn = sum(message["role"] == "user" for message in body["messages"])
    picture = body["messages"][0]["content"][0]["image_url"]["url"]
    word = hashlib.sha256(picture.encode()).hexdigest()[:6]
    return f"{KEYWORDS[turn - 1]}, {word}" if turn < 4 else "None"


def completion(text):
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices})


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send(self, status, text, kind="application/json", **headers):
        data = text.encode()
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send(200, json.dumps(LOG))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        LOG.append({"at": time.monotonic(), "key": self.headers["authorization"], "body": body})
        model = body["model"]
        seen = TIMES_SEEN[model] = TIMES_SEEN.get(model, 0) + 1
        failing = {"down": True, "recovering": seen <= 2, "busy": seen <= 1, "overloaded": True}.get(model, False)
        if model == "slow":
            time.sleep(3)
        if model == "steady":
            time.sleep(0.05)
        if self.path != "/v1/chat/completions" or model == "unknown":
            self.send(404, '{"error": {"message": "no such model:\\nunknown"}}')
        elif model == "locked" and self.headers["authorization"] != "Bearer secret":
            self.send(401, '{"error": {"message": "who are you?"}}')
        elif failing and model in ("busy", "overloaded"):
            self.send(429, '{"error": {"message": "later"}}', **({"retry-after": "1"} if model == "busy" else {}))
        elif failing:
            self.send(500, "<h1>Internal\nServer Error</h1>", "text/html")
        elif model == "broken":
            self.send(200, completion("waving")[:-9])
        elif model == "page":
            self.send(200, "<h1>Welcome</h1>", "text/html")
        elif model in ("list", "empty", "odd"):
            self.send(
                200,
                {"list": "[]", "empty": '{"choices": []}', "odd": '{"choices": [{"message": {"content": 1}}]}'}[model],
            )
        elif model == "cut":
            self.send(200, completion("waving"), **{"content-length": "9999"})
            self.close_connection = True
        elif model == "silent":
            self.send(200, completion(None))
        elif model == "surrogate":
            self.send(200, completion("waving \ud83d"))
        else:
            self.send(200, completion(good(body)))


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit()
