#include "worker/nn/pickle.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

using Kind = PickleValue::Kind;
using Items = std::vector<PickleValue>;

constexpr int kDepthMax = 64;

absl::Status Malformed(std::string_view fact) {
  return absl::DataLossError(absl::StrCat("pickle: ", std::string(fact)));
}

PickleValue Number(Kind kind, int64_t number) {
  PickleValue value;
  value.kind = kind;
  value.number = number;
  return value;
}

PickleValue Text(Kind kind, std::string_view text) {
  PickleValue value;
  value.kind = kind;
  value.text = std::string(text);
  return value;
}

PickleValue Container(Kind kind) {
  PickleValue value;
  value.kind = kind;
  value.items = std::make_shared<PickleItems>();
  return value;
}

// Moves `items` to the end of `container`.
absl::Status AddItems(PickleValue* container, Items items) {
  PickleItems& target = *container->items;
  if (target.is_inside) return Malformed("changes a container that is inside another");
  for (PickleValue& item : items) {
    if (item.items == container->items) return Malformed("a container inside itself");
    if (item.items != nullptr) {
      item.items->is_inside = true;
      target.depth = std::max(target.depth, item.items->depth + 1);
    }
    target.values.push_back(std::move(item));
  }
  if (target.depth > kDepthMax) return Malformed(absl::StrCat("nested over ", kDepthMax, " levels"));
  return absl::OkStatus();
}

bool ToIntegers(const PickleValue& value, std::vector<int64_t>* out) {
  if (value.kind != Kind::kTuple && value.kind != Kind::kList) return false;
  for (const PickleValue& item : value.items->values) {
    if (item.kind != Kind::kInt) return false;
    out->push_back(item.number);
  }
  return true;
}

// One pickle program. Follows CPython's pickletools on the meaning of each operation.
class Interpreter {
 public:
  Interpreter(std::string_view bytes, uint64_t num_operations_max)
      : bytes_(bytes), num_operations_max_(num_operations_max) {}

  absl::StatusOr<PickleValue> Run() {
    for (uint64_t count = 0;; ++count) {
      if (count >= num_operations_max_) {
        return absl::ResourceExhaustedError(absl::StrCat("pickle: limit is ", num_operations_max_, " operations"));
      }
      std::string_view operation;
      URSA_RETURN_IF_ERROR(Take(1, &operation));
      if (operation[0] == '.') {
        if (stack_.size() != 1 || stack_[0].kind == Kind::kMark) return Malformed("ends with an unfinished value");
        return stack_[0];
      }
      URSA_RETURN_IF_ERROR(Execute(static_cast<unsigned char>(operation[0])));
    }
  }
  size_t used() const { return at_; }

 private:
  absl::Status Take(uint64_t count, std::string_view* out) {
    if (count > bytes_.size() - at_) return Malformed(absl::StrCat("truncated at byte ", at_));
    *out = bytes_.substr(at_, count);
    at_ += count;
    return absl::OkStatus();
  }
  template <typename T>
  absl::Status TakeNumber(T* number) {
    std::string_view raw;
    URSA_RETURN_IF_ERROR(Take(sizeof(T), &raw));
    std::memcpy(number, raw.data(), sizeof(T));
    return absl::OkStatus();
  }
  absl::Status TakeLine(std::string_view* line) {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) return Malformed("unfinished line");
    *line = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return absl::OkStatus();
  }
  // A text or bytes value whose length is a `Length`.
  template <typename Length>
  absl::Status PushText() {
    Length length;
    URSA_RETURN_IF_ERROR(TakeNumber(&length));
    std::string_view text;
    URSA_RETURN_IF_ERROR(Take(length, &text));
    stack_.push_back(Text(Kind::kString, text));
    return absl::OkStatus();
  }
  template <typename T>
  absl::Status PushInt() {
    T number;
    URSA_RETURN_IF_ERROR(TakeNumber(&number));
    stack_.push_back(Number(Kind::kInt, static_cast<int64_t>(number)));
    return absl::OkStatus();
  }
  absl::Status PushLong(uint64_t num_bytes) {
    std::string_view raw;
    URSA_RETURN_IF_ERROR(Take(num_bytes, &raw));
    if (num_bytes > 8) {
      stack_.push_back(Text(Kind::kString, raw));
      return absl::OkStatus();
    }
    uint64_t number = 0;
    std::memcpy(&number, raw.data(), raw.size());
    if (!raw.empty() && num_bytes < 8 && (raw.back() & 0x80) != 0) number |= ~uint64_t{0} << (8 * num_bytes);
    stack_.push_back(Number(Kind::kInt, static_cast<int64_t>(number)));
    return absl::OkStatus();
  }
  absl::Status PushFloat() {
    std::string_view raw;
    URSA_RETURN_IF_ERROR(Take(8, &raw));
    std::string little(raw.rbegin(), raw.rend());
    PickleValue value;
    value.kind = Kind::kFloat;
    std::memcpy(&value.real, little.data(), 8);
    stack_.push_back(value);
    return absl::OkStatus();
  }
  absl::Status Pop(PickleValue* value) {
    if (stack_.empty() || stack_.back().kind == Kind::kMark) return Malformed("stack underflow");
    *value = std::move(stack_.back());
    stack_.pop_back();
    return absl::OkStatus();
  }
  absl::Status PopToMark(Items* items) {
    const auto mark = std::find_if(stack_.rbegin(), stack_.rend(),
                                   [](const PickleValue& value) { return value.kind == Kind::kMark; });
    if (mark == stack_.rend()) return Malformed("no mark");
    items->assign(std::make_move_iterator(mark.base()), std::make_move_iterator(stack_.end()));
    stack_.erase(mark.base() - 1, stack_.end());
    return absl::OkStatus();
  }
  absl::Status PushTuple(Items items) {
    stack_.push_back(Container(Kind::kTuple));
    return AddItems(&stack_.back(), std::move(items));
  }
  absl::Status PushTuple(int count) {
    Items items(static_cast<size_t>(count));
    for (int i = count; i-- > 0;) URSA_RETURN_IF_ERROR(Pop(&items[static_cast<size_t>(i)]));
    return PushTuple(std::move(items));
  }
  absl::Status Extend(Kind kind, Items items) {
    if (stack_.empty() || stack_.back().kind != kind) return Malformed("items for no container");
    if (kind == Kind::kDict && items.size() % 2 != 0) return Malformed("a key without a value");
    return AddItems(&stack_.back(), std::move(items));
  }
  absl::Status Put(uint64_t index) {
    if (stack_.empty() || stack_.back().kind == Kind::kMark) return Malformed("nothing to remember");
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }
  absl::Status Get(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) return Malformed(absl::StrCat("nothing remembered as ", index));
    stack_.push_back(found->second);
    return absl::OkStatus();
  }
  absl::Status PushClass(std::string_view module, std::string_view name) {
    const std::string full = absl::StrCat(std::string(module), " ", std::string(name));
    const bool is_storage = module == "torch" && name.size() > 7 && name.substr(name.size() - 7) == "Storage";
    static const char* const kKnown[] = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2",
                                         "torch._utils _rebuild_tensor", "torch._utils _rebuild_parameter",
                                         "torch Size"};
    if (!is_storage && std::find(std::begin(kKnown), std::end(kKnown), full) == std::end(kKnown)) {
      return absl::InvalidArgumentError(
          absl::StrCat("pickle: names \"", full, "\", which is none of the kinds that a state dict holds"));
    }
    stack_.push_back(Text(Kind::kClass, full));
    return absl::OkStatus();
  }
  absl::Status PersistentId();
  absl::Status Reduce();
  absl::Status RebuildTensor(const Items& arguments);
  absl::Status Build();
  absl::Status Execute(unsigned char operation);

  std::string_view bytes_;
  uint64_t num_operations_max_;
  size_t at_ = 0;
  std::vector<PickleValue> stack_;
  std::map<uint64_t, PickleValue> memo_;
};

// ("storage", class, key, location, number of elements[, None])
absl::Status Interpreter::PersistentId() {
  PickleValue id;
  URSA_RETURN_IF_ERROR(Pop(&id));
  if (id.kind != Kind::kTuple || id.items->values.size() < 5 || id.items->values.size() > 6)
    return Malformed("odd persistent id");
  const Items& parts = id.items->values;
  if (parts[0].text != "storage" || parts[1].kind != Kind::kClass || parts[2].kind != Kind::kString ||
      parts[4].kind != Kind::kInt || (parts.size() == 6 && parts[5].kind != Kind::kNone)) {
    return Malformed("persistent id names no storage");
  }
  PickleValue value;
  value.kind = Kind::kStorage;
  value.storage = std::make_shared<PickleValue::Storage>(
      PickleValue::Storage{parts[1].text.substr(sizeof "torch"), parts[2].text, parts[4].number});
  stack_.push_back(value);
  return absl::OkStatus();
}

// (storage, offset, sizes, strides, ...): requires_grad, hooks and metadata do not matter here.
absl::Status Interpreter::RebuildTensor(const Items& arguments) {
  PickleValue::Tensor tensor;
  if (arguments.size() < 4 || arguments[0].kind != Kind::kStorage || arguments[1].kind != Kind::kInt ||
      !ToIntegers(arguments[2], &tensor.sizes) || !ToIntegers(arguments[3], &tensor.strides)) {
    return Malformed("odd arguments of a tensor");
  }
  tensor.storage = arguments[0].storage;
  tensor.offset = arguments[1].number;
  PickleValue value;
  value.kind = Kind::kTensor;
  value.tensor = std::make_shared<PickleValue::Tensor>(std::move(tensor));
  stack_.push_back(value);
  return absl::OkStatus();
}

absl::Status Interpreter::Reduce() {
  PickleValue arguments, callee;
  URSA_RETURN_IF_ERROR(Pop(&arguments));
  URSA_RETURN_IF_ERROR(Pop(&callee));
  if (callee.kind != Kind::kClass || arguments.kind != Kind::kTuple) return Malformed("calls what is no function");
  const Items& items = arguments.items->values;
  if (callee.text == "torch._utils _rebuild_tensor_v2" || callee.text == "torch._utils _rebuild_tensor") {
    return RebuildTensor(items);
  }
  if (callee.text == "torch._utils _rebuild_parameter" && !items.empty() && items[0].kind == Kind::kTensor) {
    stack_.push_back(items[0]);
    return absl::OkStatus();
  }
  if (callee.text == "torch Size" && items.size() == 1 && items[0].kind == Kind::kTuple) {
    stack_.push_back(items[0]);
    return absl::OkStatus();
  }
  if (callee.text == "collections OrderedDict" && items.size() <= 1) {
    PickleValue dict = Container(Kind::kDict);
    if (items.size() == 1) {
      if (items[0].kind != Kind::kList) return Malformed("odd arguments of an OrderedDict");
      for (const PickleValue& pair : items[0].items->values) {
        if ((pair.kind != Kind::kTuple && pair.kind != Kind::kList) || pair.items->values.size() != 2) {
          return Malformed("odd arguments of an OrderedDict");
        }
        URSA_RETURN_IF_ERROR(AddItems(&dict, pair.items->values));
      }
    }
    stack_.push_back(dict);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("pickle: calls \"", callee.text, "\" with unknown arguments"));
}

// Attributes of a dictionary (torch's `_metadata`): they hold no tensors, and are dropped.
absl::Status Interpreter::Build() {
  PickleValue state;
  URSA_RETURN_IF_ERROR(Pop(&state));
  if (stack_.empty() || stack_.back().kind != Kind::kDict) return Malformed("attributes of what is no dictionary");
  return absl::OkStatus();
}

absl::Status Interpreter::Execute(unsigned char operation) {
  Items items;
  PickleValue value;
  switch (operation) {
    case 0x80: {  // PROTO
      uint8_t protocol;
      URSA_RETURN_IF_ERROR(TakeNumber(&protocol));
      if (protocol < 2 || protocol > 5) return Malformed(absl::StrCat("protocol ", protocol, " is not in 2..5"));
      return absl::OkStatus();
    }
    case 0x95: {  // FRAME
      uint64_t length;
      return TakeNumber(&length);
    }
    case '(':
      stack_.push_back(Number(Kind::kMark, 0));
      return absl::OkStatus();
    case 'N':
      stack_.push_back(Number(Kind::kNone, 0));
      return absl::OkStatus();
    case 0x88:
    case 0x89:
      stack_.push_back(Number(Kind::kBool, operation == 0x88));
      return absl::OkStatus();
    case 'J':
      return PushInt<int32_t>();
    case 'K':
      return PushInt<uint8_t>();
    case 'M':
      return PushInt<uint16_t>();
    case 0x8a: {  // LONG1
      uint8_t length;
      URSA_RETURN_IF_ERROR(TakeNumber(&length));
      return PushLong(length);
    }
    case 'G':
      return PushFloat();
    case 'U':   // SHORT_BINSTRING
    case 'C':   // SHORT_BINBYTES
    case 0x8c:  // SHORT_BINUNICODE
      return PushText<uint8_t>();
    case 'T':  // BINSTRING
    case 'B':  // BINBYTES
    case 'X':  // BINUNICODE
      return PushText<uint32_t>();
    case 0x8d:  // BINUNICODE8
    case 0x8e:  // BINBYTES8
      return PushText<uint64_t>();
    case ')':
      return PushTuple(0);
    case 0x85:
    case 0x86:
    case 0x87:
      return PushTuple(operation - 0x84);
    case 't':
      URSA_RETURN_IF_ERROR(PopToMark(&items));
      return PushTuple(std::move(items));
    case ']':
    case '}':
      stack_.push_back(Container(operation == ']' ? Kind::kList : Kind::kDict));
      return absl::OkStatus();
    case 'a':
      URSA_RETURN_IF_ERROR(Pop(&value));
      return Extend(Kind::kList, {value});
    case 'e':
      URSA_RETURN_IF_ERROR(PopToMark(&items));
      return Extend(Kind::kList, std::move(items));
    case 's': {
      PickleValue key;
      URSA_RETURN_IF_ERROR(Pop(&value));
      URSA_RETURN_IF_ERROR(Pop(&key));
      return Extend(Kind::kDict, {key, value});
    }
    case 'u':
      URSA_RETURN_IF_ERROR(PopToMark(&items));
      return Extend(Kind::kDict, std::move(items));
    case 'q':
    case 'h': {
      uint8_t index;
      URSA_RETURN_IF_ERROR(TakeNumber(&index));
      return operation == 'q' ? Put(index) : Get(index);
    }
    case 'r':
    case 'j': {
      uint32_t index;
      URSA_RETURN_IF_ERROR(TakeNumber(&index));
      return operation == 'r' ? Put(index) : Get(index);
    }
    case 0x94:  // MEMOIZE
      return Put(memo_.size());
    case 'c': {
      std::string_view module, name;
      URSA_RETURN_IF_ERROR(TakeLine(&module));
      URSA_RETURN_IF_ERROR(TakeLine(&name));
      return PushClass(module, name);
    }
    case 0x93: {  // STACK_GLOBAL
      PickleValue name;
      URSA_RETURN_IF_ERROR(Pop(&name));
      URSA_RETURN_IF_ERROR(Pop(&value));
      return PushClass(value.text, name.text);
    }
    case 'Q':
      return PersistentId();
    case 'R':
      return Reduce();
    case 'b':
      return Build();
    default:
      return absl::InvalidArgumentError(absl::StrCat("pickle: operation 0x", absl::Hex(operation), " at byte ", at_ - 1,
                                                     " is not one of a state dict's"));
  }
}

}  // namespace

const PickleValue* PickleValue::Find(std::string_view key) const {
  const PickleValue* found = nullptr;
  if (kind != Kind::kDict) return found;
  const Items& values = items->values;
  for (size_t i = 0; i + 1 < values.size(); i += 2) {
    if (values[i].kind == Kind::kString && values[i].text == key) found = &values[i + 1];
  }
  return found;
}

absl::StatusOr<PickleValue> ReadPickle(std::string_view bytes, uint64_t num_operations_max, size_t* used) {
  Interpreter interpreter(bytes, num_operations_max);
  URSA_ASSIGN_OR_RETURN(PickleValue value, interpreter.Run());
  *used = interpreter.used();
  return value;
}

}  // namespace ursa
