"""Original stickers drawn from specifications: characters, faces, poses, props, captions and styles."""
