"""A file of everything that one flow needs, to be applied."""

from __future__ import annotations

import re
from typing import Final

_FILE: Final = """
segments:
  - {id: vip, name: VIP, namespace: CRM}
connections:
  - id: account
    name: Account
    connectionSpec: {id: 86043421-563b-46ec-8e6c-e23184711bf6}
    auth:
      specName: Aws Kinesis authentication credentials
      params: {accessKeyId: AKIDEXAMPLE, secretKey: "${env:<variable>}", region: eu-west-1<more>}
targetConnections:
  - {id: stream, name: Stream, baseConnectionId: account, params: {stream: <stream>}}
flows:
  - id: main
    name: Main
    targetConnectionIds: [stream]
    transformations:
      - name: GeneralTransform
        params:
          segmentSelectors: {selectors: [{type: PLATFORM_SEGMENT, value: {id: vip, namespace: CRM}}]}
          profileSelectors: {selectors: [{type: JSON_PATH, value: {operator: EXISTS, path: <path>}}]}
"""


def one_flow(*, variable: str, stream: str, path: str, endpoint: str = "") -> str:
    """The file.

    Args:
        variable: Of the environment, which holds the secret key.
        stream: The stream's name.
        path: What the flow maps.
        endpoint: URL of the service; "" for the region's.
    """
    given = {"variable": variable, "stream": stream, "path": path}
    given["more"] = f', endpointUrl: "{endpoint}"' if endpoint else ""
    return re.sub("<([a-z]+)>", lambda found: given[found[1]], _FILE)
