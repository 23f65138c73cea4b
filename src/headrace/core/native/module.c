/* headrace.core._native: plain updates decided without Python objects. See core/plain.py. */
#include "settled.h"
#include "slice.h"

PyDoc_STRVAR(scan_doc, "scan(body) -> (identities, primary, update id or None, note) | None\n\n"
                       "Read a plain update; None for one that core/update.py has to read.");

static PyObject *scanned_of(PyObject *body)
{
    Scanned scanned;
    if (!PyBytes_Check(body) || PyBytes_GET_SIZE(body) > MOST_BODY || scan_update(bytes_of(body), &scanned))
        Py_RETURN_NONE;
    int primary;
    uint32_t counts[2] = {(uint32_t)scanned.attributes, (uint32_t)scanned.memberships};
    size_t size = sizeof counts + noted_memberships.size + noted_attributes.size;
    PyObject *list = identities_of(&scanned, &primary);
    PyObject *note = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    PyObject *update_id = scanned.update_id.size
        ? PyUnicode_DecodeUTF8(scanned.update_id.at, (Py_ssize_t)scanned.update_id.size, NULL) : Py_NewRef(Py_None);
    PyObject *answer = NULL;
    if (list != NULL && note != NULL && update_id != NULL) {
        char *to = PyBytes_AS_STRING(note);
        memcpy(to, counts, sizeof counts);
        if (noted_memberships.size)
            memcpy(to + sizeof counts, noted_memberships.at, noted_memberships.size);
        if (noted_attributes.size)
            memcpy(to + sizeof counts + noted_memberships.size, noted_attributes.at, noted_attributes.size);
        answer = PyTuple_Pack(4, list, PyList_GET_ITEM(list, primary), update_id, note);
    }
    Py_XDECREF(list);
    Py_XDECREF(note);
    Py_XDECREF(update_id);
    return answer;
}

static PyObject *scan(PyObject *module, PyObject *body)
{
    (void)module;
    if (busy)
        Py_RETURN_NONE;
    busy = 1;
    PyObject *answer = scanned_of(body);
    busy = 0;
    return answer;
}

PyDoc_STRVAR(apply_doc,
             "apply(stored or None, note, identities, profile id, ordinal, now_ms, now, plan, exports)\n"
             "-> (profile or None, held, ordinal and version before, epoch, older, ends) | None\n\n"
             "Fold the note of a plain update into a profile's bytes; None where core/step.py has to.");

static int list_end(void *whom, Span namespace, int member, Span since)
{
    PyObject *one = Py_BuildValue("(s#Os#)", namespace.at, (Py_ssize_t)namespace.size, member ? Py_True : Py_False,
                                  since.at, (Py_ssize_t)SINCE);
    int failed = one == NULL || PyList_Append(whom, one);
    Py_XDECREF(one);
    return failed;
}

/* What `apply` gives; the exports are appended last, so that a failure leaves nothing. */
static PyObject *answer_of(const Plan *plan, const Change *change, const Applied *applied, PyObject *out)
{
    PyObject *held = PyTuple_New(plan->count), *ends = PyList_New(0), *answer = NULL;
    for (int f = 0; held != NULL && f < plan->count; f++)
        PyTuple_SET_ITEM(held, f, Py_NewRef(applied->reasons[f]));
    if (held != NULL && ends != NULL && !tell_ends(change, list_end, ends))
        answer = Py_BuildValue("(OOLLLiO)", applied->profile != NULL ? applied->profile : Py_None, held,
                               (long long)applied->before.ordinal, (long long)applied->before.version,
                               (long long)applied->before.epoch, applied->older, ends);
    for (int f = 0; answer != NULL && f < plan->count; f++)
        if (applied->exports[f] != NULL && PyList_Append(PyList_GET_ITEM(out, f), applied->exports[f]))
            Py_CLEAR(answer);
    Py_XDECREF(held);
    Py_XDECREF(ends);
    return answer;
}

static PyObject *apply(PyObject *module, PyObject *const *given, Py_ssize_t count)
{
    (void)module;
    if (count != 9 || (given[0] != Py_None && !PyBytes_Check(given[0])) || !PyBytes_Check(given[1]) || PyBytes_GET_SIZE(given[1]) < 8
        || !PyList_Check(given[2]) || !PyUnicode_Check(given[3]) || !PyUnicode_Check(given[6]) || !PyList_Check(given[8]))
        return PyErr_Format(PyExc_TypeError, "apply takes what its docstring says");
    const Plan *plan = PyCapsule_GetPointer(given[7], "headrace.plan");
    Span now = text_of(given[6]);
    Named identities[MOST_IDENTITIES];
    Py_ssize_t identity_count = PyList_GET_SIZE(given[2]);
    Change change = {0};
    change.profile_id = given[3];
    change.ordinal = PyLong_AsLongLong(given[4]);
    change.now_ms = PyLong_AsLongLong(given[5]);
    change.bucket = -1;
    if (plan == NULL || PyErr_Occurred())
        return NULL;
    if (!holds_lists(given[8], plan->count))
        return PyErr_Format(PyExc_TypeError, "exports are to be a list for each of the %d flows", plan->count);
    if (busy || now.size != SINCE || change.ordinal < 0 || change.now_ms < 0 || identity_count > MOST_IDENTITIES)
        Py_RETURN_NONE;
    for (Py_ssize_t i = 0; i < identity_count; i++) {
        PyObject *identity = PyList_GET_ITEM(given[2], i);
        identities[i] = (Named){text_of(PyTuple_GET_ITEM(identity, 0)), text_of(PyTuple_GET_ITEM(identity, 1))};
        if (identities[i].namespace.at == NULL || identities[i].id.at == NULL)
            return NULL;
    }
    PyObject *answer = NULL;
    Applied applied;
    busy = 1;
    int found = apply_note(given[0] != Py_None ? given[0] : NULL, bytes_of(given[1]), identities, (int)identity_count,
                           &change, now.at, plan, &applied);
    if (found == DONE) {
        answer = answer_of(plan, &change, &applied, given[8]);
        forget(plan, &applied);
    }
    busy = 0;
    if (found == NOT_PLAIN)
        Py_RETURN_NONE;
    if (answer == NULL && !PyErr_Occurred())
        PyErr_NoMemory();
    return answer;
}

PyDoc_STRVAR(plan_doc, "plan(version, version as JSON, flows) -> a configuration for `apply`; see core/plain.py");

static PyObject *make_plan(PyObject *module, PyObject *given)
{
    (void)module;
    PyObject *version, *quoted, *flows;
    if (!PyArg_ParseTuple(given, "USO!", &version, &quoted, &PyList_Type, &flows))
        return NULL;
    if (PyList_GET_SIZE(flows) > MOST_FLOWS)
        return PyErr_Format(PyExc_ValueError, "more than %d flows", MOST_FLOWS);
    Plan *plan = PyMem_Calloc(1, sizeof(Plan));
    if (plan == NULL)
        return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(plan, "headrace.plan", free_plan);
    if (capsule == NULL) {
        PyMem_Free(plan);
        return NULL;
    }
    plan->given = Py_NewRef(given);
    plan->version = version;
    plan->version_text = text_of(version);
    plan->quoted_version = bytes_of(quoted);
    plan->flows = PyMem_Calloc((size_t)PyList_GET_SIZE(flows) + 1, sizeof(Flow));
    if (plan->flows == NULL) {
        Py_DECREF(capsule);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(flows); i++) {
        plan->count++;
        if (fill_flow(&plan->flows[i], PyList_GET_ITEM(flows, i))) {
            Py_DECREF(capsule);
            return PyErr_Occurred() ? NULL : PyErr_NoMemory();
        }
    }
    return capsule;
}

PyDoc_STRVAR(use_doc, "use(identity type, cause type, export type, nothing): what objects are made of");

static PyObject *use(PyObject *module, PyObject *given)
{
    (void)module;
    PyObject *identity, *cause, *export, *nothing;
    if (!PyArg_ParseTuple(given, "O!OOO!", &PyType_Type, &identity, &cause, &export, &PyList_Type, &nothing))
        return NULL;
    if (find_all_fields(export, cause))
        return NULL;
    Py_XSETREF(known.identity, Py_NewRef(identity));
    Py_XSETREF(known.cause, Py_NewRef(cause));
    Py_XSETREF(known.export, Py_NewRef(export));
    Py_XSETREF(known.nothing, Py_NewRef(nothing));
    Py_RETURN_NONE;
}

static PyObject *name_bucket(PyObject *module, PyObject *key)
{
    (void)module;
    int bucket = PyUnicode_Check(key) ? bucket_of(key) : -1;
    if (bucket < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "a partition key is a text");
    return PyLong_FromLong(bucket);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_O, scan_doc},
    {"apply", (PyCFunction)(void (*)(void))apply, METH_FASTCALL, apply_doc},
    {"plan", make_plan, METH_VARARGS, plan_doc},
    {"bucket_of", name_bucket, METH_O, "bucket_of(key) -> the bucket of a partition key, as core/export.py has it"},
    {"use", use, METH_VARARGS, use_doc},
    {"pending", (PyCFunction)(void (*)(void))in_block, METH_FASTCALL, "pending(export, block, index) -> as it waits there"},
    {"sizes", sizes, METH_O, "sizes(exports) -> (bytes of their records, bytes kept besides)"},
    {"fit", fit, METH_VARARGS, "fit(exports, bytes, characters) -> whether every record and key is within these"},
    {"grouped", grouped, METH_VARARGS, "grouped(exports, encode) -> [(bucket, exports, ordinals, bytes)]"},
    {"lie_in", lie_in, METH_VARARGS, "lie_in(exports, block): that is where they are stored, in order"},
    {"answered", answered, METH_VARARGS, "answered(exports, outcomes) -> those refused"},
    {"settle", settle, METH_O, "settle(exports) -> bytes that they took; they are settled in their blocks"},
    {"blocks_of", blocks_of, METH_O, "blocks_of(exports) -> their blocks, one for each run"},
    {"columns", columns, METH_O, "columns(exports) -> (data, keys)"},
    {"padded", padded, METH_O, "padded(exports) -> their data, each filled up to a multiple of three bytes"},
    {"json_body", json_body, METH_VARARGS, "json_body(head, exports, base64 of `padded`) -> a request's body"},
    {"put_profiles", put_profiles, METH_VARARGS, "put_profiles(put, key prefix, profiles, cache): each that is not None"},
    {"unusual", unusual, METH_O, "unusual(exports) -> (bytes delivered at the first write, the others)"},
    {"made_at", made_at, METH_O, "made_at(exports) -> ([(epoch milliseconds, how many)], those that cross an audience)"},
    {"ledger_columns", ledger_columns, METH_O, "ledger_columns(exports) -> what the ledger keeps of each, in columns"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "headrace.core._native", "Plain updates, decided without Python objects.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    known.empty = PyUnicode_InternFromString("");
    known.live = PyUnicode_InternFromString("live");
    known.segment = PyUnicode_InternFromString("segment");
    known.identified = PyUnicode_InternFromString("identity");
    known.attribute = PyUnicode_InternFromString("attribute");
    known.no_change = PyUnicode_InternFromString("no-relevant-change");
    known.paused = PyUnicode_InternFromString("paused");
    known.not_a_member = PyUnicode_InternFromString("not-a-member");
    known.trigger_off = PyUnicode_InternFromString("trigger-off");
    known.same_value = PyUnicode_InternFromString("same-value");
    known.catch_up = PyUnicode_InternFromString("catch-up");
    verdict_name = PyUnicode_InternFromString("verdict");
    shard_name = PyUnicode_InternFromString("shard");
    sequence_name = PyUnicode_InternFromString("sequence");
    code_name = PyUnicode_InternFromString("code");
    settle_name = PyUnicode_InternFromString("settle");
    bucket_name = PyUnicode_InternFromString("bucket");
    if (PyErr_Occurred() || PyType_Ready(&slice_type) || PyType_Ready(&pending_type))
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL
        && (PyModule_AddObjectRef(module, "Slice", (PyObject *)&slice_type)
            || PyModule_AddObjectRef(module, "Pending", (PyObject *)&pending_type)))
        Py_CLEAR(module);
    return module;
}
