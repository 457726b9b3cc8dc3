// Messages as JSON, by the command line's rules (protobuf's own JSON prints 64-bit numbers as strings).
#ifndef URSA_CLIENT_CLI_PROTO_JSON_H_
#define URSA_CLIENT_CLI_PROTO_JSON_H_

#include "client/cli/json.h"
#include "google/protobuf/message.h"

namespace ursa::cli {

// An object with every field of `message` under its proto name, in order of declaration:
//   - zero and empty values are printed; fields that are absent (optional ones, messages) are null, absent members of a
//     oneof are left out;
//   - all numbers are JSON numbers; NaN and infinities are null; bytes are not allowed;
//   - states are upper case without their enum's prefix ("RUNNING"), verdicts lower case ("need_more_data"), an
//     unspecified value is "";
//   - maps are objects, sorted by key; timestamps are RFC 3339 text in UTC;
//   - a message that only wraps a list (ConfusionRow, Gates) is that list.
Json ToJson(const google::protobuf::Message& message);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_PROTO_JSON_H_
