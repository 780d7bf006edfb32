local cjson = require "cjson.safe"

local EMAIL = [[^[\w.%+'-]+@(?:[a-z0-9-]+\.)+[a-z]{2,}\z]]

local function multipart(body, boundary)
    local form = {}
    local line = "\r\n--" .. boundary
    -- The first boundary has no line break before it.
    local from = #line - 1
    if body:sub(1, from - 1) ~= line:sub(3) then
        return nil
    end
    while body:sub(from, from + 1) == "\r\n" do
        local _, head = body:find("\r\n\r\n", from, true)
        if not head then
            return nil
        end
        local stop, next_from = body:find(line, head - 1, true)
        if not stop then
            return nil
        end
        local name = body:sub(from, head):match('[; ]name="([^"]*)"')
        if name then
            form[name] = body:sub(head + 1, stop - 1)
        end
        from = next_from + 1
    end
    return body:sub(from, from + 1) == "--" and form or nil
end

local function read_form()
    ngx.req.read_body()
    local kind = ngx.var.content_type or ""
    if kind:find("application/x-www-form-urlencoded", 1, true) == 1 then
        return (ngx.req.get_post_args())
    end
    local body = ngx.req.get_body_data() or ""
    if kind:find("application/json", 1, true) == 1 then
        return (cjson.decode(body))
    end
    local boundary = kind:match('^multipart/form%-data.*boundary="?([^";]+)')
    return boundary and multipart(body, boundary)
end

local function text(value)
    return type(value) == "string" and value ~= "" and value
end

local function first(form, a, b, c)
    return text(form[a]) or text(form[b]) or text(form[c]) or ""
end

local function answer(status, body)
    ngx.status = status
    ngx.header.content_length = #body
    ngx.print(body)
end

return function()
    local form = read_form()
    if type(form) ~= "table" then
        return answer(400, '{"success":false,"error":"body"}')
    end
    local name = first(form, "Name", "your-name", "1.3")
    local surname = text(form["1.6"])
    local lead = {
        name = surname and name .. " " .. surname or name,
        email = first(form, "Email", "your-email", "2"),
        phone = first(form, "Phone", "your-tel", "3"),
        message = first(form, "Message", "your-message", "4"),
    }
    if not ngx.re.find(lead.email, EMAIL, "ijo") then
        return answer(422, '{"success":false,"error":"email"}')
    end
    local taken = ngx.location.capture("/intake", {
        method = ngx.HTTP_POST,
        body = cjson.encode(lead),
    })
    if taken.status >= 200 and taken.status < 300 then
        return answer(200, '{"success":true}')
    end
    return answer(502, '{"success":false}')
end
