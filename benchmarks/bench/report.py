def write(results, path):
    import json
    path.write_text(json.dumps(results))
