#include "worker/nn/json.h"

#include <charconv>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace ursa {

class JsonParser {
 public:
  JsonParser(std::string_view text, int depth_max) : text_(text), depth_max_(depth_max) {}

  absl::StatusOr<Json> ParseDocument() {
    Json value;
    URSA_RETURN_IF_ERROR(ParseValue(0, &value));
    SkipSpace();
    if (at_ != text_.size()) return Error("text after the value");
    return value;
  }

 private:
  absl::Status Error(const char* what) const {
    return absl::InvalidArgumentError(absl::StrCat("JSON: ", what, " at byte ", at_));
  }
  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool TakeWord(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  absl::Status ParseValue(int depth, Json* value) {
    if (depth > depth_max_) return Error("nested too deeply");
    SkipSpace();
    switch (Peek()) {
      case '{':
        return ParseObject(depth, value);
      case '[':
        return ParseArray(depth, value);
      case '"':
        value->type_ = Json::Type::kString;
        return ParseString(&value->string_);
      case 't':
      case 'f':
        value->type_ = Json::Type::kBool;
        value->boolean_ = Peek() == 't';
        return TakeWord(value->boolean_ ? "true" : "false") ? absl::OkStatus() : Error("unknown word");
      case 'n':
        return TakeWord("null") ? absl::OkStatus() : Error("unknown word");
      default:
        return ParseNumber(value);
    }
  }

  absl::Status ParseObject(int depth, Json* value) {
    value->type_ = Json::Type::kObject;
    Take('{');
    SkipSpace();
    if (Take('}')) return absl::OkStatus();
    std::set<std::string> names;
    do {
      SkipSpace();
      if (Peek() != '"') return Error("expected a member name");
      Json::Member member;
      URSA_RETURN_IF_ERROR(ParseString(&member.first));
      if (!names.insert(member.first).second) return Error("repeated member name");
      SkipSpace();
      if (!Take(':')) return Error("expected ':'");
      URSA_RETURN_IF_ERROR(ParseValue(depth + 1, &member.second));
      value->members_.push_back(std::move(member));
      SkipSpace();
    } while (Take(','));
    return Take('}') ? absl::OkStatus() : Error("expected ',' or '}'");
  }

  absl::Status ParseArray(int depth, Json* value) {
    value->type_ = Json::Type::kArray;
    Take('[');
    SkipSpace();
    if (Take(']')) return absl::OkStatus();
    do {
      value->array_.emplace_back();
      URSA_RETURN_IF_ERROR(ParseValue(depth + 1, &value->array_.back()));
      SkipSpace();
    } while (Take(','));
    return Take(']') ? absl::OkStatus() : Error("expected ',' or ']'");
  }

  bool TakeDigits() {
    const size_t begin = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ > begin;
  }

  absl::Status ParseNumber(Json* value) {
    const size_t begin = at_;
    Take('-');
    if (!Take('0') && !TakeDigits()) return Error("unexpected character");
    if (Take('.') && !TakeDigits()) return Error("expected a digit");
    if (Peek() == 'e' || Peek() == 'E') {
      ++at_;
      if (!Take('+')) Take('-');
      if (!TakeDigits()) return Error("expected a digit");
    }
    value->type_ = Json::Type::kNumber;
    value->string_ = std::string(text_.substr(begin, at_ - begin));
    const char* end = value->string_.data() + value->string_.size();
    const auto parsed = std::from_chars(value->string_.data(), end, value->number_);
    if (parsed.ec != std::errc() || parsed.ptr != end) return Error("number out of range");
    return absl::OkStatus();
  }

  absl::Status ParseHex4(uint32_t* code) {
    *code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = Peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return Error("expected four hex digits");
      *code = *code * 16 + static_cast<uint32_t>(digit);
      ++at_;
    }
    return absl::OkStatus();
  }

  static void AppendUtf8(uint32_t code, std::string* out) {
    const auto tail = [&](int shift) { out->push_back(static_cast<char>(0x80 | ((code >> shift) & 0x3f))); };
    if (code < 0x80) {
      out->push_back(static_cast<char>(code));
    } else if (code < 0x800) {
      out->push_back(static_cast<char>(0xc0 | (code >> 6)));
      tail(0);
    } else if (code < 0x10000) {
      out->push_back(static_cast<char>(0xe0 | (code >> 12)));
      tail(6), tail(0);
    } else {
      out->push_back(static_cast<char>(0xf0 | (code >> 18)));
      tail(12), tail(6), tail(0);
    }
  }

  absl::Status ParseEscape(std::string* out) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (Take('u')) {
      uint32_t code = 0;
      URSA_RETURN_IF_ERROR(ParseHex4(&code));
      if (code >= 0xd800 && code < 0xdc00) {
        uint32_t low = 0;
        if (!Take('\\') || !Take('u')) return Error("half a surrogate pair");
        URSA_RETURN_IF_ERROR(ParseHex4(&low));
        if (low < 0xdc00 || low > 0xdfff) return Error("half a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else if (code >= 0xdc00 && code <= 0xdfff) {
        return Error("half a surrogate pair");
      }
      AppendUtf8(code, out);
      return absl::OkStatus();
    }
    const size_t which = at_ < text_.size() ? kFrom.find(text_[at_]) : std::string_view::npos;
    if (which == std::string_view::npos) return Error("unknown escape");
    ++at_;
    out->push_back(kTo[which]);
    return absl::OkStatus();
  }

  absl::Status ParseString(std::string* out) {
    Take('"');
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return absl::OkStatus();
      }
      if (static_cast<unsigned char>(c) < 0x20) return Error("control character in a string");
      ++at_;
      if (c == '\\') {
        URSA_RETURN_IF_ERROR(ParseEscape(out));
      } else {
        out->push_back(c);
      }
    }
    return Error("unfinished string");
  }

  std::string_view text_;
  int depth_max_;
  size_t at_ = 0;
};

absl::StatusOr<Json> Json::Parse(std::string_view text, int depth_max) {
  return JsonParser(text, depth_max).ParseDocument();
}

bool Json::boolean() const {
  URSA_CHECK(type_ == Type::kBool) << "not a bool";
  return boolean_;
}

double Json::number() const {
  URSA_CHECK(type_ == Type::kNumber) << "not a number";
  return number_;
}

bool Json::AsUint64(uint64_t* value) const {
  if (type_ != Type::kNumber) return false;
  const char* end = string_.data() + string_.size();
  const auto parsed = std::from_chars(string_.data(), end, *value);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

const std::string& Json::string() const {
  URSA_CHECK(type_ == Type::kString) << "not a string";
  return string_;
}

const std::vector<Json>& Json::array() const {
  URSA_CHECK(type_ == Type::kArray) << "not an array";
  return array_;
}

const std::vector<Json::Member>& Json::members() const {
  URSA_CHECK(type_ == Type::kObject) << "not an object";
  return members_;
}

const Json* Json::Find(std::string_view name) const {
  for (const Member& member : members_) {
    if (member.first == name) return &member.second;
  }
  return nullptr;
}

const Json& Json::operator[](std::string_view name) const {
  const Json* value = Find(name);
  URSA_CHECK(value != nullptr) << "no member " << std::string(name);
  return *value;
}

const Json& Json::operator[](size_t index) const {
  URSA_CHECK(index < array().size()) << "no element " << index;
  return array_[index];
}

std::string JsonQuote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      out += "\\u00";
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

}  // namespace ursa
