#include "experiments/textproto.h"

#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace ursa {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::string_view View(std::string_view text) { return absl::string_view(text.data(), text.size()); }

// Keeps the first error; those after it are mostly its consequences.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (set_) return;
    set_ = true;
    line_ = line;
    column_ = column;
    message_ = message;
  }

  bool set() const { return set_; }
  int line() const { return line_; }  // from 0
  int column() const { return column_; }
  const std::string& message() const { return message_; }

 private:
  bool set_ = false;
  int line_ = 0;
  int column_ = 0;
  std::string message_;
};

// The n-th text between double quotes in a message of the parser.
std::string QuotedPart(const std::string& message, int n) {
  size_t begin = 0;
  for (;;) {
    begin = message.find('"', begin);
    if (begin == std::string::npos) return "";
    const size_t end = message.find('"', begin + 1);
    if (end == std::string::npos) return "";
    if (n-- == 0) return message.substr(begin + 1, end - begin - 1);
    begin = end + 1;
  }
}

// Byte offset of a tokenizer's position; there a tab goes to the next multiple of 8.
size_t Offset(std::string_view text, int line, int column) {
  size_t offset = 0;
  for (int i = 0; i < line; ++i) {
    const size_t end = text.find('\n', offset);
    if (end == std::string_view::npos) return text.size();
    offset = end + 1;
  }
  for (int at = 0; at < column && offset < text.size(); ++offset) at = text[offset] == '\t' ? (at / 8 + 1) * 8 : at + 1;
  return offset;
}

// "7:9", line and column from 1, of a byte offset.
std::string Position(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  int line = 1;
  for (char c : before) line += c == '\n';
  const size_t line_start = before.rfind('\n');
  const size_t column = line_start == std::string_view::npos ? offset + 1 : offset - line_start;
  return absl::StrCat(line, ":", column);
}

std::vector<std::string> FieldNames(const Descriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
  return names;
}

std::string AllowedFields(const Descriptor* type) {
  return absl::StrCat("allowed: ", absl::StrJoin(FieldNames(type), ", "));
}

// "(hint: fine_tune?)" where a field's name is near, else all that are allowed.
std::string FieldHint(const Descriptor* type, const std::string& name) {
  const std::string nearest = NearestWord(name, FieldNames(type));
  return nearest.empty() ? absl::StrCat("; ", AllowedFields(type)) : absl::StrCat(" (hint: ", nearest, "?)");
}

// The shortest path of fields from `root` to a message of type `type_name`; "" for the root itself.
std::optional<std::string> PathToType(const Descriptor* root, const std::string& type_name, const Descriptor** type) {
  std::deque<std::pair<const Descriptor*, std::string>> queue = {{root, ""}};
  std::set<const Descriptor*> seen = {root};
  for (; !queue.empty(); queue.pop_front()) {
    const auto [descriptor, path] = queue.front();
    if (descriptor->full_name() == type_name) {
      *type = descriptor;
      return path;
    }
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || !seen.insert(field->message_type()).second) continue;
      queue.emplace_back(field->message_type(), path.empty() ? field->name() : absl::StrCat(path, ".", field->name()));
    }
  }
  return std::nullopt;
}

absl::Status ParseError(std::string_view subject, std::string_view text, const FirstError& error,
                        const Descriptor* root) {
  size_t offset = Offset(text, error.line(), error.column());
  std::string fact = error.message();
  if (fact.find("has no field named") != std::string::npos) {
    const std::string name = QuotedPart(error.message(), 1);
    const Descriptor* type = nullptr;
    const std::optional<std::string> path = PathToType(root, QuotedPart(error.message(), 0), &type);
    if (path) {
      fact = absl::StrCat("unknown field \"", absl::CEscape(name), "\"",
                          path->empty() ? "" : absl::StrCat(" in \"", *path, "\""), FieldHint(type, name));
      // The parser stands behind the name when it finds out.
      const size_t name_offset = text.substr(0, offset).rfind(name);
      if (name_offset != std::string_view::npos) offset = name_offset;
    }
  } else if (!fact.empty()) {
    fact[0] = absl::ascii_tolower(static_cast<unsigned char>(fact[0]));
    if (fact.back() == '.') fact.pop_back();
  }
  return absl::InvalidArgumentError(absl::StrCat(View(subject), ":", Position(text, offset), ": ", fact));
}

// Parses into `message`, whose old content is lost; the first error is left in `error`.
bool Parse(std::string_view text, Message* message, FirstError* error) {
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(error);
  return parser.ParseFromString(std::string(text), message);
}

// ---- paths

struct PathStep {
  std::string name;
  std::optional<int> index;
};

struct Assignment {
  std::string path;
  std::vector<PathStep> steps;
  std::string value;
};

absl::Status SetError(std::string_view path, const std::string& fact) {
  return absl::InvalidArgumentError(absl::StrCat("set ", absl::CEscape(View(path)), ": ", fact));
}

absl::StatusOr<PathStep> ParseStep(std::string_view path, std::string_view text) {
  PathStep step;
  const size_t bracket = text.find('[');
  step.name = std::string(text.substr(0, bracket));
  if (step.name.empty()) return SetError(path, "the path has an empty part; expected FIELD.FIELD=VALUE");
  if (bracket == std::string_view::npos) return step;
  const std::string_view digits = text.substr(bracket + 1);
  constexpr size_t kDigitsMax = 6;
  if (digits.size() < 2 || digits.size() > kDigitsMax + 1 || digits.back() != ']') {
    return SetError(path, absl::StrCat("\"", absl::CEscape(View(text)), "\" is not FIELD[INDEX]"));
  }
  int index = 0;
  for (char c : digits.substr(0, digits.size() - 1)) {
    if (c < '0' || c > '9')
      return SetError(path, absl::StrCat("\"", absl::CEscape(View(text)), "\" is not FIELD[INDEX]"));
    index = index * 10 + (c - '0');
  }
  step.index = index;
  return step;
}

absl::StatusOr<Assignment> ParseAssignment(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("set \"", absl::CEscape(View(text)), "\": expected PATH=VALUE"));
  }
  if (text.size() > kTextprotoBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("set: the value has ", text.size(), " bytes, at most ", kTextprotoBytesMax));
  }
  Assignment assignment;
  assignment.path = std::string(absl::StripAsciiWhitespace(View(text.substr(0, equals))));
  assignment.value = std::string(absl::StripAsciiWhitespace(View(text.substr(equals + 1))));
  std::string_view rest = assignment.path;
  for (;;) {
    const size_t dot = rest.find('.');
    URSA_ASSIGN_OR_RETURN(PathStep step, ParseStep(assignment.path, rest.substr(0, dot)));
    assignment.steps.push_back(std::move(step));
    if (dot == std::string_view::npos) return assignment;
    rest.remove_prefix(dot + 1);
  }
}

absl::Status CheckIndex(const std::string& path, const FieldDescriptor* field, const PathStep& step,
                        const Message& message) {
  if (!field->is_repeated()) {
    if (!step.index) return absl::OkStatus();
    return SetError(path, absl::StrCat("\"", field->name(), "\" is no list"));
  }
  const int size = message.GetReflection()->FieldSize(message, field);
  if (!step.index || *step.index <= size) return absl::OkStatus();
  return SetError(path,
                  absl::StrCat("index ", *step.index, " of \"", field->name(), "\", which has ", size, " elements"));
}

absl::StatusOr<const FieldDescriptor*> FindField(const std::string& path, const PathStep& step,
                                                 const Message& message) {
  const Descriptor* type = message.GetDescriptor();
  const FieldDescriptor* field = type->FindFieldByName(step.name);
  if (field == nullptr) {
    return SetError(path, absl::StrCat("unknown field \"", absl::CEscape(step.name), "\"", FieldHint(type, step.name)));
  }
  URSA_RETURN_IF_ERROR(CheckIndex(path, field, step, message));
  return field;
}

// The message that a step leads to, made if it is not there.
absl::StatusOr<Message*> Descend(const std::string& path, const PathStep& step, Message* message) {
  URSA_ASSIGN_OR_RETURN(const FieldDescriptor* field, FindField(path, step, *message));
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    return SetError(path, absl::StrCat("\"", step.name, "\" is ", field->type_name(), ", it has no fields"));
  }
  const Reflection* reflection = message->GetReflection();
  if (!field->is_repeated()) return reflection->MutableMessage(message, field);
  if (!step.index)
    return SetError(path, absl::StrCat("\"", step.name, "\" is a list; expected ", step.name, "[INDEX]"));
  if (*step.index == reflection->FieldSize(*message, field)) return reflection->AddMessage(message, field);
  return reflection->MutableRepeatedMessage(message, field, *step.index);
}

std::string TypeWord(const FieldDescriptor* field) {
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
    return absl::StrCat("{", field->message_type()->name(), " fields}");
  return field->type_name();
}

// What the parser is to read for this field.
std::string FieldText(const FieldDescriptor* field, const std::string& value) {
  const bool quoted = !value.empty() && (value[0] == '"' || value[0] == '\'');
  const bool list = field->is_repeated() && !value.empty() && value[0] == '[';
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !quoted && !list) {
    return absl::StrCat(field->name(), ": \"", absl::CEscape(value), "\"");
  }
  return absl::StrCat(field->name(), ": ", value);
}

// Reads a field's value into a message of its own, where it is alone.
absl::StatusOr<std::unique_ptr<Message>> ParseValue(const Assignment& assignment, const FieldDescriptor* field,
                                                    const Message& parent) {
  std::unique_ptr<Message> scratch(parent.New());
  FirstError error;
  const bool parsed = Parse(FieldText(field, assignment.value), scratch.get(), &error);
  std::vector<const FieldDescriptor*> set_fields;
  if (parsed) scratch->GetReflection()->ListFields(*scratch, &set_fields);
  const bool alone = set_fields.empty() || (set_fields.size() == 1 && set_fields[0] == field);
  if (parsed && alone) return scratch;
  std::string fact = absl::StrCat("expected ", field->is_repeated() ? "a list of " : "", TypeWord(field), ", got \"",
                                  absl::CEscape(assignment.value), "\"");
  const Descriptor* type = nullptr;
  if (error.message().find("has no field named") != std::string::npos &&
      PathToType(parent.GetDescriptor(), QuotedPart(error.message(), 0), &type)) {
    const std::string name = QuotedPart(error.message(), 1);
    fact = absl::StrCat("unknown field \"", absl::CEscape(name), "\"", FieldHint(type, name));
  }
  return SetError(assignment.path, fact);
}

// Sets a number that is written as people write them: what the parser would do, without it. False: left to the parser.
bool SetPlainNumber(const FieldDescriptor* field, const std::string& value, Message* parent) {
  const size_t first = !value.empty() && value[0] == '-' ? 1 : 0;
  const bool is_plain = first < value.size() && value[first] >= '0' && value[first] <= '9' &&
                        (value[first] != '0' || first + 1 == value.size() || value[first + 1] == '.') &&
                        value.find_first_not_of("0123456789.e-", first) == std::string::npos;
  if (!is_plain || field->is_repeated()) return false;
  const Reflection* reflection = parent->GetReflection();
  double number = 0;
  int32_t int32 = 0;
  int64_t int64 = 0;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE && absl::SimpleAtod(value, &number)) {
    reflection->SetDouble(parent, field, number);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT32 && absl::SimpleAtoi(value, &int32)) {
    reflection->SetInt32(parent, field, int32);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64 && absl::SimpleAtoi(value, &int64)) {
    reflection->SetInt64(parent, field, int64);
  } else {
    return false;
  }
  return true;
}

absl::Status SetLeaf(const Assignment& assignment, Message* parent) {
  const PathStep& step = assignment.steps.back();
  URSA_ASSIGN_OR_RETURN(const FieldDescriptor* field, FindField(assignment.path, step, *parent));
  if (SetPlainNumber(field, assignment.value, parent)) return absl::OkStatus();
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Message> value, ParseValue(assignment, field, *parent));
  const Reflection* reflection = parent->GetReflection();
  if (!step.index) {
    reflection->ClearField(parent, field);
    parent->MergeFrom(*value);
    return absl::OkStatus();
  }
  if (value->GetReflection()->FieldSize(*value, field) != 1) {
    return SetError(assignment.path,
                    absl::StrCat("expected one element, got \"", absl::CEscape(assignment.value), "\""));
  }
  const int last = reflection->FieldSize(*parent, field);
  parent->MergeFrom(*value);
  if (*step.index < last) {
    reflection->SwapElements(parent, field, *step.index, last);
    reflection->RemoveLast(parent, field);
  }
  return absl::OkStatus();
}

// ---- canonical text

void AppendField(const Message& message, const FieldDescriptor* field, int index, std::string* out) {
  const Reflection* reflection = message.GetReflection();
  const bool repeated = index >= 0;
  absl::StrAppend(out, field->number(), "=");
  std::string scratch;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      absl::StrAppend(
          out, repeated ? reflection->GetRepeatedInt32(message, field, index) : reflection->GetInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      absl::StrAppend(
          out, repeated ? reflection->GetRepeatedInt64(message, field, index) : reflection->GetInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      absl::StrAppend(
          out, repeated ? reflection->GetRepeatedUInt32(message, field, index) : reflection->GetUInt32(message, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      absl::StrAppend(
          out, repeated ? reflection->GetRepeatedUInt64(message, field, index) : reflection->GetUInt64(message, field));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      absl::StrAppendFormat(
          out, "%a",
          repeated ? reflection->GetRepeatedDouble(message, field, index) : reflection->GetDouble(message, field));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      absl::StrAppendFormat(
          out, "%a",
          repeated ? reflection->GetRepeatedFloat(message, field, index) : reflection->GetFloat(message, field));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      absl::StrAppend(
          out, (repeated ? reflection->GetRepeatedBool(message, field, index) : reflection->GetBool(message, field))
                   ? 1
                   : 0);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      absl::StrAppend(out, repeated ? reflection->GetRepeatedEnumValue(message, field, index)
                                    : reflection->GetEnumValue(message, field));
      break;
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string& text = repeated ? reflection->GetRepeatedStringReference(message, field, index, &scratch)
                                         : reflection->GetStringReference(message, field, &scratch);
      absl::StrAppend(out, text.size(), ":", text);
      break;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      absl::StrAppend(out, "{",
                      CanonicalText(repeated ? reflection->GetRepeatedMessage(message, field, index)
                                             : reflection->GetMessage(message, field)),
                      "}");
      break;
  }
  out->push_back(';');
}

}  // namespace

absl::Status ParseTextproto(std::string_view subject, std::string_view text, Message* message) {
  if (text.size() > kTextprotoBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(View(subject), ": the text has ", text.size(), " bytes, at most ", kTextprotoBytesMax));
  }
  const std::unique_ptr<Message> parsed(message->New());
  FirstError error;
  if (!Parse(text, parsed.get(), &error)) return ParseError(subject, text, error, message->GetDescriptor());
  message->GetReflection()->Swap(message, parsed.get());
  return absl::OkStatus();
}

absl::Status SetField(std::string_view assignment, Message* message) {
  const std::unique_ptr<Message> changed(message->New());
  changed->CopyFrom(*message);
  URSA_RETURN_IF_ERROR(SetFieldInPlace(assignment, changed.get()));
  message->GetReflection()->Swap(message, changed.get());
  return absl::OkStatus();
}

absl::Status SetFieldInPlace(std::string_view assignment, Message* message) {
  URSA_ASSIGN_OR_RETURN(const Assignment parsed, ParseAssignment(assignment));
  Message* parent = message;
  for (size_t i = 0; i + 1 < parsed.steps.size(); ++i) {
    URSA_ASSIGN_OR_RETURN(parent, Descend(parsed.path, parsed.steps[i], parent));
  }
  return SetLeaf(parsed, parent);
}

std::string CanonicalText(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::string out;
  for (const FieldDescriptor* field : fields) {
    if (!field->is_repeated()) {
      AppendField(message, field, -1, &out);
      continue;
    }
    for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) AppendField(message, field, i, &out);
  }
  return out;
}

}  // namespace ursa
