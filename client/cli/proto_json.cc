#include "client/cli/proto_json.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/timestamp.pb.h"

namespace ursa::cli {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Protobuf requires the zero value of an enum to be PREFIX_UNSPECIFIED (buf's rule), which tells the prefix.
std::string EnumWord(const EnumValueDescriptor& value) {
  if (value.number() == 0) return "";
  static constexpr std::string_view kUnspecified = "UNSPECIFIED";
  const std::string& zero = value.type()->FindValueByNumber(0)->name();
  const size_t prefix = zero.size() - std::min(zero.size(), kUnspecified.size());
  const std::string word = value.name().substr(std::min(prefix, value.name().size()));
  return value.type()->name() == "Verdict" ? absl::AsciiStrToLower(word) : word;
}

std::string TimeText(const Message& message) {
  google::protobuf::Timestamp time;
  time.CopyFrom(message);
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                          absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()), absl::UTCTimeZone());
}

bool IsListWrapper(const google::protobuf::Descriptor& type) {
  return type.full_name() == "ursa.v1.ConfusionRow" || type.full_name() == "ursa.v1.Gates";
}

Json MessageJson(const Message& message);

// A singular field, or element `index` of a repeated one when it is not negative.
Json ValueJson(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& get = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? get.GetInt32(message, &field) : get.GetRepeatedInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? get.GetInt64(message, &field) : get.GetRepeatedInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? get.GetUInt32(message, &field) : get.GetRepeatedUInt32(message, &field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? get.GetUInt64(message, &field) : get.GetRepeatedUInt64(message, &field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? get.GetDouble(message, &field) : get.GetRepeatedDouble(message, &field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return static_cast<double>(one ? get.GetFloat(message, &field) : get.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? get.GetBool(message, &field) : get.GetRepeatedBool(message, &field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(one ? *get.GetEnum(message, &field) : *get.GetRepeatedEnum(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      URSA_CHECK(field.type() != FieldDescriptor::TYPE_BYTES) << field.full_name() << " has no JSON form";
      return one ? get.GetString(message, &field) : get.GetRepeatedString(message, &field, index);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageJson(one ? get.GetMessage(message, &field) : get.GetRepeatedMessage(message, &field, index));
  }
  return Json();
}

Json MapJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& get = *message.GetReflection();
  const FieldDescriptor& key = *field.message_type()->map_key();
  const FieldDescriptor& value = *field.message_type()->map_value();
  URSA_CHECK(key.cpp_type() == FieldDescriptor::CPPTYPE_STRING) << field.full_name() << " has keys that are no text";
  std::map<std::string, Json> sorted;
  for (int i = 0; i < get.FieldSize(message, &field); ++i) {
    const Message& entry = get.GetRepeatedMessage(message, &field, i);
    sorted[entry.GetReflection()->GetString(entry, &key)] = ValueJson(entry, value, -1);
  }
  Json object = Json::Object();
  for (auto& [name, json] : sorted) object.Set(name, std::move(json));
  return object;
}

Json ListJson(const Message& message, const FieldDescriptor& field) {
  Json array = Json::Array();
  const int size = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < size; ++i) array.Append(ValueJson(message, field, i));
  return array;
}

Json MessageJson(const Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  if (type.full_name() == google::protobuf::Timestamp::descriptor()->full_name()) return TimeText(message);
  if (IsListWrapper(type)) return ListJson(message, *type.field(0));
  Json object = Json::Object();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_map()) {
      object.Set(field.name(), MapJson(message, field));
    } else if (field.is_repeated()) {
      object.Set(field.name(), ListJson(message, field));
    } else if (field.has_presence() && !message.GetReflection()->HasField(message, &field)) {
      if (field.real_containing_oneof() == nullptr) object.Set(field.name(), Json());
    } else {
      object.Set(field.name(), ValueJson(message, field, -1));
    }
  }
  return object;
}

}  // namespace

Json ToJson(const Message& message) { return MessageJson(message); }

}  // namespace ursa::cli
