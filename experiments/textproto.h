// Textproto that people write: parsing with errors they can act on, and single fields set by path. Knows nothing of any
// particular message.
#ifndef URSA_EXPERIMENTS_TEXTPROTO_H_
#define URSA_EXPERIMENTS_TEXTPROTO_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace ursa {

inline constexpr size_t kTextprotoBytesMax = 1 << 20;

// Replaces `message` by what `text` says. `subject` starts each error, for example the file's name.
// Errors: INVALID_ARGUMENT with line and column (from 1): `bears.textproto:7:9: unknown field "fine_tuna" of train
// (ursa.v1.TrainSpec) (hint: fine_tune?)`; the text is over kTextprotoBytesMax.
absl::Status ParseTextproto(std::string_view subject, std::string_view text, google::protobuf::Message* message);

// Sets one field: "train.fine_tune.epochs=1", `dataset="polar"`, `train.metrics[0]=accuracy`, "train.metrics=[\"a\"]",
// "model={architecture: \"resnet18\"}". The value is a textproto literal; quotes around strings may be left out.
// Messages on the path are made if need be; a member of a oneof replaces the others. An index may be the length of the
// list (to append). On an error `message` is unchanged. Errors: INVALID_ARGUMENT with the path, the part of it that is
// wrong and the fields allowed there, or the type the value should have had.
absl::Status SetField(std::string_view assignment, google::protobuf::Message* message);
// The same, faster; but an error may leave some of the path's messages in `message`.
absl::Status SetFieldInPlace(std::string_view assignment, google::protobuf::Message* message);

// All fields that are set, in order of their numbers, floating-point numbers exact: equal messages give equal text in
// any version of the protobuf library, so hashes are taken over it. For messages without maps, extensions and unknown
// fields.
std::string CanonicalText(const google::protobuf::Message& message);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_TEXTPROTO_H_
