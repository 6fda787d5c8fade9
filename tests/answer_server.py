"""An OpenAI-compatible server on loopback that answers with what a function makes of the request."""

import http.server
import json
import threading
from contextlib import contextmanager


class Refused(Exception):
    """The server's answer is status 400."""


@contextmanager
def answering(reply):
    """Base address of a server; `reply` makes the text of an answer from the body of a request, or raises `Refused`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                message = {"role": "assistant", "content": reply(body)}
                status, answer = 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                answer |= {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
            except Refused as error:
                status, answer = 400, {"error": {"message": str(error)}}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
